"""Before the first episode: JAX, the environment, the operator, what a run starts from."""
