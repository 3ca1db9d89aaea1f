"""Episode -> replay -> mixer; the store keeps episodes on disk."""
