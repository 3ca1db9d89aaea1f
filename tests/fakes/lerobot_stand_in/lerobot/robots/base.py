"""The interface; its method bodies are ours."""

import abc
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar


@dataclass(kw_only=True)
class RobotConfig(abc.ABC):  # noqa: B024
    id: str | None = None
    calibration_dir: Path | None = None

    _choices: ClassVar[dict[str, type]] = {}

    @classmethod
    def register_subclass(cls, name: str):
        def register(kind: type) -> type:
            cls._choices[name] = kind
            return kind

        return register

    @classmethod
    def get_known_choices(cls) -> dict[str, type]:
        return cls._choices

    @property
    def type(self) -> str:
        return next(name for name, kind in self._choices.items() if kind is type(self))


class Robot(abc.ABC):
    config_class: type[RobotConfig]
    name: str

    def __init__(self, config: RobotConfig):
        self.id = config.id

    @property
    @abc.abstractmethod
    def observation_features(self) -> dict: ...

    @property
    @abc.abstractmethod
    def action_features(self) -> dict: ...

    @property
    @abc.abstractmethod
    def is_connected(self) -> bool: ...

    @abc.abstractmethod
    def connect(self, calibrate: bool = True) -> None: ...

    @property
    @abc.abstractmethod
    def is_calibrated(self) -> bool: ...

    @abc.abstractmethod
    def calibrate(self) -> None: ...

    @abc.abstractmethod
    def configure(self) -> None: ...

    @abc.abstractmethod
    def get_observation(self) -> dict[str, Any]: ...

    @abc.abstractmethod
    def send_action(self, action: dict[str, Any]) -> dict[str, Any]: ...

    @abc.abstractmethod
    def disconnect(self) -> None: ...


def make_robot_from_config(config: RobotConfig) -> Robot:
    module = importlib.import_module(type(config).__module__)
    return getattr(module, type(config).__name__.removesuffix("Config"))(config)
