"""The families of figures: each is a module with an object `FAMILY`, and its notes are in NAME.toml beside it."""
