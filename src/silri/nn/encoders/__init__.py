"""Image encoders: one small file each, frames to features, owned by the network that sees."""
