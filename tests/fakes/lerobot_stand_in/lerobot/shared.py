"""What LeRobot's interfaces have in common; the method bodies are ours."""

import abc
from typing import ClassVar


class Choices(abc.ABC):
    """Configurations by name, as draccus keeps them: each direct subclass has a table."""

    _choices: ClassVar[dict[str, type]]

    def __init_subclass__(cls) -> None:
        if Choices in cls.__bases__:
            cls._choices = {}

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


class Connected(abc.ABC):
    """What a robot and a teleoperator both have to say and to do."""

    name: str

    def __init__(self, config):
        self.id = config.id

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
    def disconnect(self) -> None: ...
