"""The four ops of the oracle, one file each, and their vector-Jacobian products."""
