"""Ray as the wire: its head, its security, and the end of its processes."""
