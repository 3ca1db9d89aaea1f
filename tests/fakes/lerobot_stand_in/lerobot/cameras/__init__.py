"""What configures a camera, as LeRobot has it."""

from dataclasses import dataclass

from lerobot.shared import Choices


@dataclass(kw_only=True)
class CameraConfig(Choices):
    fps: int | None = None
    width: int | None = None
    height: int | None = None
