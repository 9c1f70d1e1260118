"""Targets: what is verified; how one is found, what it declares, how its parameters are bound, and how it is called."""
