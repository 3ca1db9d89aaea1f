"""What an environment with lerobot runs; a folder of its own, so that it hides no other module."""
