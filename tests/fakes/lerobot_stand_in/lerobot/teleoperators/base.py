"""The interface; its method bodies are ours."""

import abc
import importlib
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar


class TeleopEvents(Enum):
    SUCCESS = "success"
    FAILURE = "failure"
    RERECORD_EPISODE = "rerecord_episode"
    IS_INTERVENTION = "is_intervention"
    TERMINATE_EPISODE = "terminate_episode"


@dataclass(kw_only=True)
class TeleoperatorConfig(abc.ABC):  # noqa: B024
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


class Teleoperator(abc.ABC):
    config_class: type[TeleoperatorConfig]
    name: str

    def __init__(self, config: TeleoperatorConfig):
        self.id = config.id

    @property
    @abc.abstractmethod
    def action_features(self) -> dict: ...

    @property
    @abc.abstractmethod
    def feedback_features(self) -> dict: ...

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
    def get_action(self) -> dict[str, Any]: ...

    @abc.abstractmethod
    def send_feedback(self, feedback: dict[str, Any]) -> None: ...

    @abc.abstractmethod
    def disconnect(self) -> None: ...


def make_teleoperator_from_config(config: TeleoperatorConfig) -> Teleoperator:
    module = importlib.import_module(type(config).__module__)
    try:
        kind = getattr(module, type(config).__name__.removesuffix("Config"))
    except AttributeError as error:
        raise ValueError(f"Error creating robot with config {config}: {error}") from error
    return kind(config)
