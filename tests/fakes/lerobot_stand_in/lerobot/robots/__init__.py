"""The names that LeRobot exports here."""

from lerobot.robots.base import Robot, RobotConfig, make_robot_from_config

__all__ = ["Robot", "RobotConfig", "make_robot_from_config"]
