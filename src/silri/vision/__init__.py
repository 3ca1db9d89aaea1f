"""Seeing: what becomes of a camera's frame before an agent and a replay take it."""
