"""Environments: Meta-World, any Gymnasium id, and whatever follows the protocol of core."""
