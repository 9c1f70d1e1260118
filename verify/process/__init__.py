"""Processes: what a child process is given, how it is limited in time and memory, and how its death is noticed."""
