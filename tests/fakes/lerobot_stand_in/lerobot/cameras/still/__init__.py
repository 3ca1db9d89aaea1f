"""A camera type that registers when its module is imported, as LeRobot's own do."""

from dataclasses import dataclass
from pathlib import Path

from lerobot.cameras import CameraConfig


@CameraConfig.register_subclass("still")
@dataclass(kw_only=True)
class StillCameraConfig(CameraConfig):
    index_or_path: int | Path
    width: int = 64
    height: int = 48
