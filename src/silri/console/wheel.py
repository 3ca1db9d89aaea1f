"""Who has the wheel: the newest input of the page that drives, and whether it may be believed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from silri.core.specs import ActionSpec

SILENCE_S = 0.25  # an input that is older drives nothing


@dataclass(frozen=True, slots=True)
class _Held:
    """An input as it arrived."""

    page: str
    sequence: int
    action: np.ndarray
    driving: bool
    at: float


@dataclass(frozen=True, slots=True)
class Wish:
    """What the person wants in this step.

    Attributes:
        driving: somebody has the wheel.
        action: (A,) what the robot is to do; None if nobody drives, or nobody knows for sure.
        silence: why it is not known: the robot must stand still. Empty if it is.
        page: who drives.
        sequence: of the input that ``action`` is from.
    """

    driving: bool
    action: np.ndarray | None = None
    silence: str = ""
    page: str = ""
    sequence: int = -1


_NOBODY = Wish(driving=False)


class Wheel:
    """Inputs come in on one thread; the loop asks on another, once per step."""

    def __init__(self, spec: ActionSpec, now: Callable[[], float]) -> None:
        """Nobody drives.

        Args:
            spec: of the action.
            now: seconds of a monotonic clock.
        """
        self._spec, self._now = spec, now
        self._continuous, self._gripper = list(spec.continuous), list(spec.gripper)
        self._fingers = np.full(len(self._gripper), spec.gripper_values[0], np.float32)
        self._held: _Held | None = None
        self._silence = ""  # known without waiting: the page or its server is gone

    def put(self, page: str, sequence: int, axes: Sequence[float], *, hold: bool) -> None:
        """An input: the person drives while holding, or moving an axis that is no gripper."""
        action = np.array(axes, np.float32)
        driving = hold or bool(action[self._continuous].any())
        self._held = _Held(page, sequence, action, driving, self._now())
        self._silence = ""

    def lose(self, why: str) -> None:
        """Whoever drives cannot be heard any more: stand still at once."""
        self._silence = why

    def release(self) -> None:
        """Nobody drives any more."""
        self._held, self._silence = None, ""

    def moved(self, executed: np.ndarray) -> None:
        """The robot has executed (A,): grippers stay as they are until the person says more."""
        self._fingers = executed[self._gripper]

    def begin(self) -> None:
        """A new episode: grippers are open."""
        self._fingers = np.full(len(self._gripper), self._spec.gripper_values[0], np.float32)

    def ask(self) -> Wish:
        """What the person wants now; for the loop's thread."""
        held, silence = self._held, self._silence
        if held is None or not held.driving:
            return _NOBODY
        if silence or self._now() - held.at > SILENCE_S:
            text = silence or f"no input from {held.page} for {SILENCE_S * 1000:.0f} ms"
            return Wish(driving=True, silence=text, page=held.page)
        action = held.action.copy()
        fingers = action[self._gripper]
        action[self._gripper] = np.where(fingers == 0.0, self._fingers, fingers)
        return Wish(True, action, page=held.page, sequence=held.sequence)
