"""Fuzzing and worst-case search: judge a target in a child process, draw recipes, shrink failures to witnesses."""
