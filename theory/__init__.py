"""Theory: the claims about these mechanisms as data and as executable checks, and what they say of real attention."""
