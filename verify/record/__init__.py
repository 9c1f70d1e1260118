"""The record of a run: its schema, how it is made from the results of cases, and the failures that were expected."""
