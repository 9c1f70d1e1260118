"""Reports of the two searches, `fuzz` and `worst`: JSON, a page and Markdown."""
