"""Acting and learning, put together: rollout, learn, and the runtimes that interleave them."""
