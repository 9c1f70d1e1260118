"""Judging: error measures, grades, and the slack that rounding is allowed; what every check has in common."""
