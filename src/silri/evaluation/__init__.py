"""How well a policy does on its own, and the numbers and figures that say so."""
