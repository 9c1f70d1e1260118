"""Regression and attention a block of scores at a time."""
