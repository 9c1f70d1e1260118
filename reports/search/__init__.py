"""Reports of the two searches, `fuzz` and `worst-case`: JSON, a page and Markdown."""
