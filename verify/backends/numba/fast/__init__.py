"""Rows in the dtype that came, where a bound says that float32 or float64 is enough."""
