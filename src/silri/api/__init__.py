"""What ``import silri`` offers, one file per noun; docs/reference/api.md lists it.

The top-level package imports from here only when a name is asked for.
"""
