"""What a page may say, checked: what is not exactly right is refused, counted, and does nothing."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from silri.core.commands import Command

MAX_BYTES = 4096  # of one message of a page
MAX_NUMBER = 2**53 - 1  # whole numbers beyond it are not exact in JavaScript
MAX_EPISODE = 2**31 - 1

# What a page may ask of the loop. Who drives is decided by holding, not by TAKE and RELEASE.
COMMANDS = {
    command.value: command for command in Command if command not in (Command.TAKE, Command.RELEASE)
}


class Refused(Exception):
    """A message that is not obeyed.

    Attributes:
        kind: ``malformed``, ``oversized``, ``replayed``, ``late`` or ``not yours``, for counting.
        text: for the person who sent it.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind, self.text = kind, text


@dataclass(frozen=True, slots=True)
class Input:
    """What the person's hands do now.

    Attributes:
        sequence: rises with every input of a page.
        time: of the page's clock, milliseconds; only ever sent back.
        axes: one per dimension of the action, in [-1, 1]. Of a gripper: the value that it is to
            have; 0 leaves it as it is.
        hold: the person drives, even without motion.
    """

    sequence: int
    time: float
    axes: tuple[float, ...]
    hold: bool


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there? Answered like an input."""

    sequence: int
    time: float


@dataclass(frozen=True, slots=True)
class Ask:
    """A command to the loop, meant for ``episode`` (None: the one that the page shows)."""

    command: Command
    episode: int | None


@dataclass(frozen=True, slots=True)
class Drawn:
    """The last picture of this camera is on the screen: the next one may come."""

    camera: int


@dataclass(frozen=True, slots=True)
class TakeControl:
    """This page wants to be the one that drives."""


@dataclass(frozen=True, slots=True)
class GiveControl:
    """This page does not want to drive any more."""


PageMessage = Input | Ping | Ask | Drawn | TakeControl | GiveControl

_FIELDS: Mapping[str, frozenset[str]] = {
    "input": frozenset({"sequence", "time", "axes", "hold"}),
    "ping": frozenset({"sequence", "time"}),
    "command": frozenset({"command", "episode"}),
    "drawn": frozenset({"camera"}),
    "take_control": frozenset(),
    "give_control": frozenset(),
}


def parse(text: str | bytes, actions: int, cameras: int) -> PageMessage:
    """One message of a page.

    Args:
        text: as it came.
        actions: ``A``, dimensions of the action.
        cameras: how many there are.

    Raises:
        Refused: it is too large, or not exactly one of the messages there are.
    """
    if not isinstance(text, str):
        raise Refused("malformed", "a page speaks text")
    if len(text) > MAX_BYTES:
        raise Refused("oversized", f"a message takes {MAX_BYTES} characters, got {len(text)}")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise Refused("malformed", "this is no JSON") from None
    if not isinstance(data, dict):
        raise Refused("malformed", "a message is an object")
    kind = data.pop("type", None)
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise Refused("malformed", f"there is no message of type {str(kind)[:40]!r}")
    if data.keys() != _FIELDS[kind]:
        raise Refused("malformed", f"'{kind}' has the fields {sorted(_FIELDS[kind])}")
    if kind == "input":
        return _input(data, actions)
    if kind == "ping":
        return Ping(_whole("sequence", data["sequence"], MAX_NUMBER), _time(data["time"]))
    if kind == "command":
        return _ask(data)
    if kind == "drawn":
        return Drawn(_whole("camera", data["camera"], cameras - 1))
    return TakeControl() if kind == "take_control" else GiveControl()


class Rising:
    """The sequence of one sender: a number that does not rise was sent before, or overtaken."""

    def __init__(self) -> None:
        self._last = -1

    def check(self, sequence: int) -> None:
        """Remember ``sequence``.

        Raises:
            Refused: it is not larger than every one before it.
        """
        if sequence <= self._last:
            raise Refused("replayed", f"input {sequence} comes after {self._last}")
        self._last = sequence


class Refusals:
    """How many messages were refused, and why."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def count(self, refused: Refused) -> None:
        """One more."""
        self.counts[refused.kind] += 1

    @property
    def total(self) -> int:
        """Of all kinds."""
        return self.counts.total()


def check_axes(axes: Any, actions: int) -> tuple[float, ...]:
    """``axes`` of an input.

    Raises:
        Refused: it is no list of ``actions`` numbers in [-1, 1].
    """
    if not isinstance(axes, list) or len(axes) != actions:
        raise Refused("malformed", f"'axes' takes {actions} numbers")
    values = tuple(_number(value) for value in axes)
    if any(value is None or not -1.0 <= value <= 1.0 for value in values):
        raise Refused("malformed", "'axes' takes numbers from -1 to 1")
    return values  # type: ignore[return-value]


def _input(data: Mapping[str, Any], actions: int) -> Input:
    if not isinstance(data["hold"], bool):
        raise Refused("malformed", "'hold' takes true or false")
    return Input(
        _whole("sequence", data["sequence"], MAX_NUMBER),
        _time(data["time"]),
        check_axes(data["axes"], actions),
        data["hold"],
    )


def _ask(data: Mapping[str, Any]) -> Ask:
    name, episode = data["command"], data["episode"]
    if not isinstance(name, str) or name not in COMMANDS:
        raise Refused("malformed", f"'command' takes one of {', '.join(COMMANDS)}")
    if episode is not None:
        episode = _whole("episode", episode, MAX_EPISODE)
    return Ask(COMMANDS[name], episode)


def _whole(name: str, value: Any, largest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= largest:
        raise Refused("malformed", f"'{name}' takes a whole number from 0 to {largest}")
    return value


def _time(value: Any) -> float:
    number = _number(value)
    if number is None:
        raise Refused("malformed", "'time' takes a number")
    return number


def _number(value: Any) -> float | None:
    """``value`` if it is a finite number; JSON's true is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
