"""Ideas on top of an algorithm: one small file each, which overrides one step of it."""
