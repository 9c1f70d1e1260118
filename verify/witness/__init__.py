"""Witnesses: for each failure a script that shows it and needs the target alone."""
