"""The four kinds of evidence: each module turns a computation into a `Finding` that claims no more than it shows."""
