"""Weights that are proved to be correctly rounded."""
