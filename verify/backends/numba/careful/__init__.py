"""Rows one at a time in float64 with compensated sums: what the fast path leaves."""
