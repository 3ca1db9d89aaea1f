"""Stand-ins that tests share: environments without a simulator, and tiny runs in them."""
