"""Rows in the dtype of the input, where a bound shows that float32 or float64 suffices."""
