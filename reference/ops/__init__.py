"""The four ops of the reference, one file each, and their vector-Jacobian products."""
