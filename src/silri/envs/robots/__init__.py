"""Real arms behind the environment's protocol."""
