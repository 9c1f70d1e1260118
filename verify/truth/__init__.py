"""Truth: what is proved about a case, the units in which errors are measured, and the cache that keeps both."""
