"""Workers: deal the cases of a run to child processes, call the targets there, and collect what the checks say."""
