"""Cases: the recipes of the inputs of targets, one line of text each; their arrays, and the suites of cases."""
