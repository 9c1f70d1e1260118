"""Fuzzing and worst-case search: a judge behind a wall, recipes to draw, and shrinking to a minimal witness."""
