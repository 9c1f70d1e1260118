"""The audit event (PEP 578) by which others can see that the truth is being computed."""

READS = "kernelproof.reads"
"""Raised for every array that a truth is computed from, with the name of the array."""
