"""Checks: one module each, with an object CHECK; found by `kernelproof.verify.discovery`."""
