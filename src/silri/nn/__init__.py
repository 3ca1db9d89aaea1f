"""Flax modules and pure maths that more than one agent is built from."""
