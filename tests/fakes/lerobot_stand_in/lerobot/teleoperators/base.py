"""The interface; its method bodies are ours."""

import abc
import importlib
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from lerobot.shared import Choices, Connected


class TeleopEvents(Enum):
    SUCCESS = "success"
    FAILURE = "failure"
    RERECORD_EPISODE = "rerecord_episode"
    IS_INTERVENTION = "is_intervention"
    TERMINATE_EPISODE = "terminate_episode"


@dataclass(kw_only=True)
class TeleoperatorConfig(Choices):
    id: str | None = None
    calibration_dir: Path | None = None


class Teleoperator(Connected):
    config_class: type[TeleoperatorConfig]

    @property
    @abc.abstractmethod
    def feedback_features(self) -> dict: ...

    @abc.abstractmethod
    def get_action(self) -> dict[str, Any]: ...

    @abc.abstractmethod
    def send_feedback(self, feedback: dict[str, Any]) -> None: ...


def make_teleoperator_from_config(config: TeleoperatorConfig) -> Teleoperator:
    module = importlib.import_module(type(config).__module__)
    try:
        kind = getattr(module, type(config).__name__.removesuffix("Config"))
    except AttributeError as error:
        raise ValueError(f"Error creating robot with config {config}: {error}") from error
    return kind(config)
