"""Cases: what a target is asked, as one line of text each; how a line becomes arrays, and which lines a suite has."""
