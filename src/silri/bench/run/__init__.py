"""Which cells there are, and running them: one core each, resumable."""
