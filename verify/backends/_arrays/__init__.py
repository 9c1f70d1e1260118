"""What the NumPy and Numba backends share: they turn arrays into rows of scores for a core, and rows into arrays."""
