"""A plug-in with arms on a test bench."""

from lerobot_robot_bench import arms

__all__ = ["arms"]
