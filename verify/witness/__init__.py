"""Witnesses: for each failure a script that shows it and needs nothing but the target."""
