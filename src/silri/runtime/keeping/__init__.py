"""What a run keeps on disk beside its episodes."""
