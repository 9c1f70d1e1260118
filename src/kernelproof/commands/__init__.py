"""The commands as Python functions: one module per command, with a function of the same name."""
