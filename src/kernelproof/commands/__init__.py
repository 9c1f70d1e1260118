"""What the commands do, from Python: one module a command, with a function of its name."""
