"""Teach the robot in a browser: the run's side, the server and the page."""
