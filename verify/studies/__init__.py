"""Studies: what is measured over many cases at once, such as the limit n → ∞ or the real tensors."""
