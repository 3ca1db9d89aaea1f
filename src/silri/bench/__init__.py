"""``silri bench``: suites as checked tables, the runner of their cells, and the report on them."""
