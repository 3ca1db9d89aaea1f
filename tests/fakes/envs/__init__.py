"""Environments to test with."""
