"""Case families: one module each, with an object FAMILY; found by `kernelproof.verify.discovery`."""
