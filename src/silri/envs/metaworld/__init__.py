"""Meta-World: its tasks, their cameras, what disturbs them, and tasks that are said in words."""
