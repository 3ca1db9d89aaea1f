"""A simulated SO-101 and what moves its arm."""
