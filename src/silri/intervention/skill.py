"""How a simulated person's hand differs from the expert's.

The expert's action is clipped to [-1, 1] *before* it is perturbed, then again: Meta-World's experts
reach 19, and noise on top of that would vanish. So 0.5 means half an action unit. In this order::

    expert, clipped -> aside first -> as it was `delay` steps ago -> one axis only
      -> + amount(d) x (habit + bias + jitter)
      -> hesitation (no motion) or mistake (a random direction) -> clipped, gripper to its class

    amount(d) = far + near exp(-(d / radius)^2),   d = metres from hand to object

Jitter and bias make a person inconsistent. A habit makes one consistently wrong.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Literal

import numpy as np

from silri.core.errors import ConfigError
from silri.core.settings import (
    NonNegative,
    NonNegativeInt,
    Positive,
    PositiveInt,
    Share01,
    settings,
)
from silri.core.specs import ActionSpec

_KEY_DONE = 0.1  # a key is let go early once less than this is left to do along its axis
_GAIN = 10.0  # action units per metre to go, as Meta-World's experts move
_ASIDE_M = 0.02  # of a way aside are left: it was gone
_CLOSE_M = 0.08  # from hand to object: nobody goes aside any more


@settings("operator.skill")
class SkillConfig:
    """A simulated hand. The default is the expert's own."""

    # standard deviation of the error drawn anew in every step, action units
    jitter: NonNegative = 0.0
    # standard deviation of the error drawn anew at every takeover, action units
    bias: NonNegative = 0.0
    # error that is always the same, action units; one number per dimension of motion, and the first
    # again where there are more; (): none
    habit: tuple[float, ...] = ()
    # habit of a second person, who teaches in half of the episodes; (): there is nobody else
    other_habit: tuple[float, ...] = ()
    # where jitter, bias and habits are: everywhere, or if the object begins at x < 0 (left), x > 0
    errs: Literal["everywhere", "left", "right"] = "everywhere"
    # share of jitter, bias and habits that is there far from the object
    far: NonNegative = 1.0
    # share of jitter, bias and habits that is added at the object
    near: NonNegative = 0.0
    # distance from the object at which the added share has fallen to 1/e, metres
    radius: Positive = 0.08
    # metres to the object's left or right that the hand goes first, one of them in all of an
    # episode; both are right, and so is neither: none is a reason to take over. 0: straight
    aside: NonNegative = 0.0
    # reaction time: acts on what it saw so many steps ago
    delay: NonNegativeInt = 0
    # probability per step of stopping to think
    hesitation: Share01 = 0.0
    # shortest and longest stop to think, steps
    hesitation_steps: tuple[PositiveInt, PositiveInt] = (2, 6)
    # share of takeovers that begin in a random direction
    mistake: Share01 = 0.0
    # shortest and longest mistake, steps
    mistake_steps: tuple[PositiveInt, PositiveInt] = (3, 12)
    # share of mistakes in which the gripper is wrong, too
    mistake_gripper: Share01 = 0.25
    # arrow keys: one axis at a time, chosen in proportion to what is to be done along it
    one_axis: bool = False
    # shortest and longest time that an arrow key is held, steps
    key_steps: tuple[PositiveInt, PositiveInt] = (2, 5)

    def __post_init__(self) -> None:
        for name in ("hesitation_steps", "mistake_steps", "key_steps"):
            low, high = getattr(self, name)
            if low > high:
                raise ConfigError(
                    f"operator.skill.{name} takes shortest <= longest, got {(low, high)}"
                )
        if self.other_habit and not self.habit:
            raise ConfigError("operator.skill.other_habit needs operator.skill.habit beside it")

    def describe(self) -> str:
        """One line with every number that matters."""
        parts = []
        if self.jitter or self.bias or self.habit:
            share = f"{self.far:g} x "
            if self.near:
                share = f"({self.far:g} + {self.near:g} exp(-(d/{self.radius:g} m)^2)) x "
            elif self.far == 1.0:
                share = ""
            error = f"jitter {self.jitter:g} per step + bias {self.bias:g} per takeover"
            if self.habit:
                error += f" + always {_numbers(self.habit)}"
            if self.other_habit:
                error += f", or in half of the episodes {_numbers(self.other_habit)}"
            where = (
                ""
                if self.errs == "everywhere"
                else f", only where the object begins on the {self.errs}"
            )
            parts.append(f"error {share}({error}){where}")
        if self.aside:
            parts.append(
                f"goes {self.aside:g} m to the object's left first, or in half of the episodes to "
                "its right"
            )
        if self.delay:
            parts.append(f"reacts {self.delay} {'step' if self.delay == 1 else 'steps'} late")
        if self.hesitation:
            low, high = self.hesitation_steps
            parts.append(f"hesitates with p {self.hesitation:g} per step for {low}-{high} steps")
        if self.mistake:
            low, high = self.mistake_steps
            parts.append(
                f"{self.mistake:.0%} of takeovers begin with {low}-{high} steps in a random "
                f"direction ({self.mistake_gripper:.0%} of those with the wrong gripper)"
            )
        if self.one_axis:
            low, high = self.key_steps
            parts.append(f"one axis at a time, for {low}-{high} steps each")
        return "; ".join(parts) or "the expert's own action"


def _numbers(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"


class Skill:
    """A hand: turns the expert's action into the person's. Pure numpy, seeded per episode."""

    def __init__(self, action_spec: ActionSpec, config: SkillConfig) -> None:
        """A hand for ``action_spec``; call :meth:`begin_episode` before anything else."""
        self._spec = action_spec
        self._config = config
        self._continuous = list(action_spec.continuous)
        self._gripper = list(action_spec.gripper)
        self._values = np.asarray(action_spec.gripper_values, np.float32)

    def begin_episode(self, rng: np.random.Generator) -> None:
        """Every draw of the episode comes from ``rng``."""
        self._rng = rng
        self._seen: deque[np.ndarray] = deque(maxlen=self._config.delay + 1)
        self._pause = 0
        self._wrong = 0
        self._key = 0
        self._key_left = 0
        self._bias = np.zeros(len(self._continuous))
        self._side: float | None = None
        self._straight = not self._config.aside  # from here on as the expert goes
        # Drawn by whom it concerns only: what others draw stays what it was.
        self._way = 1.0 if self._config.aside and rng.random() < 0.5 else -1.0
        habit = self._config.habit
        if self._config.other_habit and rng.random() < 0.5:
            habit = self._config.other_habit
        self._habit = np.resize(np.asarray(habit or 0.0), len(self._continuous))

    def observe(
        self, expert_action: np.ndarray, side: float = 0.0, away: np.ndarray | None = None
    ) -> list[np.ndarray]:
        """Look at what would be right now, in control or not: this is where reaction is slow.

        Args:
            expert_action: (A,) unclipped.
            side: the object's x in metres; the episode's first one tells on which side it begins.
            away: (3,) from object to hand in metres; None where nobody knows (then straight).

        Returns:
            (A,) each, clipped and snapped: all that is right, the person's own way first. What
            disagreement is measured against.
        """
        if self._side is None:
            self._side = side
        right = [self._spec.snap(expert_action)]
        if not self._straight and away is not None:
            left = abs(self._way * self._config.aside - float(away[0]))
            self._straight = left < _ASIDE_M or math.hypot(*away) < _CLOSE_M
        if not self._straight and away is not None:
            ways = (self._way, -self._way)
            right = [self._aside(way, float(away[0]), right[0]) for way in ways] + right
        self._seen.append(right[0])
        return right

    def _aside(self, way: float, away: float, action: np.ndarray) -> np.ndarray:
        """Sideways only, towards the object's left (-1) or right (1); the gripper as it is."""
        aside = action.copy()
        aside[self._continuous] = 0.0
        aside[self._continuous[0]] = _GAIN * (way * self._config.aside - away)
        return self._spec.snap(aside)

    def take_over(self) -> None:
        """A new takeover: another bias, and perhaps a mistake to begin with."""
        config, rng = self._config, self._rng
        if config.bias:
            self._bias = config.bias * rng.standard_normal(len(self._continuous))
        self._pause = self._wrong = 0
        if config.mistake and rng.random() < config.mistake:
            low, high = config.mistake_steps
            self._wrong = int(rng.integers(low, high, endpoint=True))
            self._direction = rng.uniform(-1.0, 1.0, len(self._continuous))
            self._wrong_gripper = rng.random() < config.mistake_gripper

    def act(self, distance: float | None) -> np.ndarray:
        """The person's action (A,) in this step, after :meth:`observe`.

        Args:
            distance: hand to object in metres; None where nobody knows (then as at ``radius``).
        """
        config, rng = self._config, self._rng
        action = self._seen[0].copy()
        motion = action[self._continuous]
        if self._wrong:
            self._wrong -= 1
            action[self._continuous] = self._direction
            if self._gripper and self._wrong_gripper:
                action[self._gripper] = self._other_class(action[self._gripper])
            return self._spec.snap(action)
        if config.hesitation and not self._pause and rng.random() < config.hesitation:
            self._pause = int(rng.integers(*config.hesitation_steps, endpoint=True))
        if self._pause:
            self._pause -= 1
            action[self._continuous] = 0.0
            return action
        if config.one_axis:
            motion = self._pressed(motion)
        if config.jitter or config.bias or config.habit:
            noise = config.jitter * rng.standard_normal(len(motion)) + self._bias + self._habit
            if config.one_axis:
                noise *= motion != 0.0  # only the key that is held
            motion = motion + self._amount(distance) * noise
        action[self._continuous] = motion
        return self._spec.snap(action)

    def _pressed(self, motion: np.ndarray) -> np.ndarray:
        """What is left of ``motion`` with one key down.

        A choice in proportion, not of the largest: clipped actions tie at 1, and a person who sees
        two ways to go alternates, where always taking the first runs into the object's side.
        """
        if not self._key_left or abs(motion[self._key]) < _KEY_DONE:
            wanted = np.abs(motion).cumsum()
            share = self._rng.random() * wanted[-1]
            self._key = min(int(wanted.searchsorted(share)), len(motion) - 1)
            self._key_left = int(self._rng.integers(*self._config.key_steps, endpoint=True))
        self._key_left -= 1
        pressed = np.zeros_like(motion)
        pressed[self._key] = motion[self._key]
        return pressed

    def _amount(self, distance: float | None) -> float:
        config = self._config
        left = self._side is not None and self._side < 0
        if config.errs != "everywhere" and left != (config.errs == "left"):
            return 0.0
        ratio = 1.0 if distance is None else distance / config.radius
        return config.far + config.near * math.exp(-ratio * ratio)

    def _other_class(self, values: np.ndarray) -> np.ndarray:
        """The class that is farthest from the right one."""
        return self._values[np.abs(values[:, None] - self._values).argmax(-1)]
