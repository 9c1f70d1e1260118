"""What the NumPy and Numba backends share: arrays in, rows of scores to a core, arrays out."""
