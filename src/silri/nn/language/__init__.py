"""Frozen networks from words to vectors."""
