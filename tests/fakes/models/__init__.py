"""Agents and frozen models to test with."""
