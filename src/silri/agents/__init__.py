"""One algorithm per file, in its paper's order."""
