"""A control loop at a steady rate, and how well it was kept."""
