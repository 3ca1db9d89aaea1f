"""Devices that a person drives with: gamepad, SpaceMouse, terminal, LeRobot's teleoperators."""
