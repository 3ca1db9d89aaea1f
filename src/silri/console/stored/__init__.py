"""Runs and episodes that are on disk, in the page's words."""
