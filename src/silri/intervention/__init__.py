"""Who drives, and simulated people who sometimes want to."""
