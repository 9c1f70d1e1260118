"""Convergence as the order grows, with rates and constants: curves of certified enclosures, and fits."""
