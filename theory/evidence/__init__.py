"""The four kinds of evidence: each module turns a computation into a `Finding` that says no more than it may."""
