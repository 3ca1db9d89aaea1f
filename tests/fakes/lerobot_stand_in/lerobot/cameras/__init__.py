"""What configures a camera, as LeRobot has it."""

import abc
from dataclasses import dataclass
from typing import ClassVar


@dataclass(kw_only=True)
class CameraConfig(abc.ABC):  # noqa: B024
    fps: int | None = None
    width: int | None = None
    height: int | None = None

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
