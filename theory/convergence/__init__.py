"""What converges as the order grows, how fast, with which constant: curves of certified enclosures, and fits."""
