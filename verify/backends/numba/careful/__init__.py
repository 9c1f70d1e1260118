"""Rows solved one at a time in float64 with compensated sums: those that the fast path leaves."""
