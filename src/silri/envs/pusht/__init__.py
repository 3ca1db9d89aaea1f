"""gym-pusht's T, and an expert that pushes it."""
