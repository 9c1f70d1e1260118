"""Theory: claims about the mechanisms as data and as executable checks, and what they say about real attention."""
