"""Judging, shared by all checks: error measures, grades, and the slack that rounding is allowed."""
