"""The commands as Python functions, a module each with a function of the same name; `verify` is in `kernelproof.api`.

`lines`, `spans` and `tables` are what the command lines share: their options, spans of time, and tables.
"""
