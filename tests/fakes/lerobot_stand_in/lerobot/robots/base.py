"""The interface; its method bodies are ours."""

import abc
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lerobot.shared import Choices, Connected


@dataclass(kw_only=True)
class RobotConfig(Choices):
    id: str | None = None
    calibration_dir: Path | None = None


class Robot(Connected):
    config_class: type[RobotConfig]

    @property
    @abc.abstractmethod
    def observation_features(self) -> dict: ...

    @abc.abstractmethod
    def get_observation(self) -> dict[str, Any]: ...

    @abc.abstractmethod
    def send_action(self, action: dict[str, Any]) -> dict[str, Any]: ...


def make_robot_from_config(config: RobotConfig) -> Robot:
    module = importlib.import_module(type(config).__module__)
    return getattr(module, type(config).__name__.removesuffix("Config"))(config)
