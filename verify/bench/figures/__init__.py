"""The families of figures, one module each with an object FAMILY and, beside it, its notes as NAME.toml."""
