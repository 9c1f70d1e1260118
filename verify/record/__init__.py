"""The record of a run: its schema, its aggregation from the results of cases, and expected failures."""
