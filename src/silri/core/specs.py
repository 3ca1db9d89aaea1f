"""What an environment's observations and actions look like, and whether a value fits.

Shape legend for the whole package: ``B`` batch, ``T`` steps of an episode, ``U`` updates per
step, ``A`` length of the action vector, ``D`` continuous action dimensions, ``G`` grippers,
``C`` gripper classes, ``E`` ensemble members.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from silri.core.errors import CameraFault, ConfigError, DataError, NonFiniteError, SpecError
from silri.core.values import numbers

Observation = dict[str, np.ndarray]
INSTRUCTION = "instruction"  # key of the text that says what is to be done in an episode
UNKNOWN_HZ = 10.0  # decisions per second where nobody says how many


@dataclass(frozen=True)
class ArraySpec:
    """Shape and dtype of one array.

    Attributes:
        shape: without any batch axis.
        dtype: numpy name; ``float32`` for vectors, ``uint8`` for images, ``<U128`` for a text of
            up to 128 characters, ``float16`` for what a frozen network has made of one of these.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def is_image(self) -> bool:
        """Frames of a camera, (H, W, C) bytes."""
        return self.dtype == "uint8"

    @property
    def is_map(self) -> bool:
        """What a frozen encoder has made of a frame, (h, w, C): cells that have a place."""
        return self.dtype == "float16" and len(self.shape) == 3

    @property
    def is_features(self) -> bool:
        """What frozen eyes have made of a frame, (F,): each of deviation 1 over demonstrations."""
        return self.dtype == "float16" and len(self.shape) == 1

    @property
    def is_text(self) -> bool:
        """Words, () unicode of a largest length: the same in all steps of an episode."""
        return self.dtype.startswith("<U")

    @property
    def is_sentence(self) -> bool:
        """What a frozen language model has made of a text, (1, F), at a scale of its own."""
        return self.dtype == "float16" and len(self.shape) == 2

    @property
    def is_vector(self) -> bool:
        """Numbers without a place in a picture; normalised before a network takes them."""
        return not (self.is_image or self.is_map or self.is_text)

    def blank(self) -> np.ndarray:
        """A value that fits: zeros, or a text that says nothing."""
        return np.array("nothing" if self.is_text else np.zeros(self.shape), self.dtype)

    def conform(self, name: str, value: Any) -> np.ndarray:
        """``value`` in an array of its own with this spec's dtype; NaN and infinity pass.

        Raises:
            SpecError: on a wrong shape, or what is no number; CameraFault if it is an image's, or
                there is none, or it is not uint8.
        """
        if self.is_text:
            return self._text(name, value)
        if value is None and self.is_image:
            raise CameraFault(f"'{name}' is None: the camera gave no picture")
        array = np.asarray(value) if self.is_image else numbers(name, value)
        error = CameraFault if self.is_image else SpecError
        if array.shape != self.shape:
            raise error(f"'{name}' has shape {array.shape}; the spec says {self.shape}")
        if self.is_image and array.dtype != np.uint8:
            raise error(f"'{name}' has dtype {array.dtype}; an image must be uint8 (0-255)")
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is named then
            return np.array(array, dtype=self.dtype)

    def validate(self, name: str, value: Any) -> np.ndarray:
        """As :meth:`conform`, and finite.

        Raises:
            SpecError: on a wrong shape, or an image that is not uint8.
            NonFiniteError: on NaN or infinity.
        """
        array = self.conform(name, value)
        if not (self.is_image or self.is_text) and not np.isfinite(array).all():
            bad = np.flatnonzero(~np.isfinite(array.ravel()))
            raise NonFiniteError(
                f"'{name}' is not finite at index {bad[:8].tolist()}: "
                f"{array.ravel()[bad[:8]].tolist()}"
            )
        return array

    def _text(self, name: str, value: Any) -> np.ndarray:
        """A text of one character or more, and no more than fit.

        Raises:
            SpecError: it is none.
        """
        array = np.asarray(value)
        if array.shape != self.shape or array.dtype.kind != "U":
            raise SpecError(f"'{name}' is {value!r}; it takes a text that says what is to be done")
        most, said = np.dtype(self.dtype).itemsize // 4, str(array)
        if not said.strip():
            raise SpecError(f"'{name}' is the empty text {said!r}; say what is to be done")
        if len(said) > most:
            raise SpecError(
                f"'{name}' has {len(said)} characters, {said!r}; the spec takes up to {most}: say "
                "it shorter, or give the spec a longer text"
            )
        return np.array(said, self.dtype)


@dataclass(frozen=True)
class ActionSpec:
    """An action vector in [-1, 1] with some dimensions that are discrete grippers.

    One arm or two, gripper or none, is a matter of this spec: ``ActionSpec(7, (6,))`` is an arm
    with a gripper, ``ActionSpec(14, (6, 13))`` two of them, ``ActionSpec(2)`` a planar pusher.

    Attributes:
        size: ``A``, length of the whole vector.
        gripper: indices of the ``G`` discrete dimensions, ascending.
        gripper_values: the action value of each of the ``C`` gripper classes.
    """

    size: int
    gripper: tuple[int, ...] = ()
    gripper_values: tuple[float, ...] = (-1.0, 1.0)

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ConfigError(f"an action needs at least one dimension, got size {self.size}")
        if list(self.gripper) != sorted(set(self.gripper)):
            raise ConfigError(f"gripper indices must ascend without repeats, got {self.gripper}")
        if any(not 0 <= index < self.size for index in self.gripper):
            raise ConfigError(f"gripper indices {self.gripper} exceed the action size {self.size}")
        if len(self.gripper_values) < 2:
            raise ConfigError(f"a discrete gripper needs two classes, got {self.gripper_values}")

    @property
    def continuous(self) -> tuple[int, ...]:
        """Indices of the ``D`` continuous dimensions."""
        return tuple(index for index in range(self.size) if index not in self.gripper)

    def validate(self, name: str, value: Any) -> np.ndarray:
        """``value`` as a float32 vector of length ``A``; see :meth:`ArraySpec.validate`."""
        return ArraySpec((self.size,)).validate(name, value)

    def snap(self, action: np.ndarray) -> np.ndarray:
        """Clip to [-1, 1] and move gripper dimensions to their nearest class value."""
        action = np.clip(np.asarray(action, np.float32), -1.0, 1.0)
        if self.gripper:
            index = list(self.gripper)
            values = np.asarray(self.gripper_values, np.float32)
            distance = np.abs(action[..., index, None] - values)
            action[..., index] = values[distance.argmin(-1)]
        return action


_POINTS_TAKE = (
    "takes the indices of (x, y), or of (x, y, z) for all, per key, such as {'state': [[0, 1]]}"
)


@dataclass(frozen=True)
class EnvSpec:
    """Everything an agent or a store must know about an environment.

    Attributes:
        name: e.g. ``metaworld/drawer-open-v3``.
        observation: spec per key; LeRobot's keys without their prefix (``state``, ...).
        action: the action vector.
        max_episode_steps: decisions until the time-out.
        control_hz: decisions per second of real or simulated time; datasets and videos of the
            environment have this rate. :data:`UNKNOWN_HZ` where nobody says. See :meth:`at_rate`.
        points: key to the indices of (x, y) or (x, y, z), metres, of every position in that vector,
            for random shifts (``agent.shift``). All of them in one frame, in which the task, and
            the action that is right, stay the same if everything is moved sideways: actions that
            name a place do not, those that name a motion do. Empty: nothing is moved. The first
            is the hand's: ``agent.relative`` sees the others from there.
        objects: those of ``points`` that say where something is that the task moves.
        goals: those that say where it is to be brought, for ``agent.goal_shift``: while no object
            moves, what is right does not depend on where exactly they are.
    """

    name: str
    observation: Mapping[str, ArraySpec]
    action: ActionSpec
    max_episode_steps: int
    control_hz: float = UNKNOWN_HZ
    points: Mapping[str, tuple[tuple[int, ...], ...]] = field(default_factory=dict)
    objects: Mapping[str, tuple[tuple[int, ...], ...]] = field(default_factory=dict)
    goals: Mapping[str, tuple[tuple[int, ...], ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (self.control_hz > 0 and math.isfinite(self.control_hz)):
            raise ConfigError(f"control_hz of {self.name} takes Hz > 0, got {self.control_hz!r}")
        points = self._places("points")
        for name in ("points", "objects", "goals"):
            object.__setattr__(self, name, self._places(name))  # of tuples: agents hash it
        for key, places in points.items():
            array = self.observation.get(key)
            if array is None or len(array.shape) != 1 or array.dtype != "float32":
                raise ConfigError(
                    f"points of '{key}': {self.name} has no float vector of that name"
                )
            indices = [index for place in places for index in place]
            if len(set(indices)) != len(indices):
                raise ConfigError(f"points of '{key}' takes places without repeats, got {places}")
            if any(not 0 <= index < array.shape[0] for index in indices):
                raise ConfigError(f"points of '{key}', {places}, exceed its size {array.shape[0]}")
        for name in ("objects", "goals"):
            for key, places in getattr(self, name).items():
                if missing := [list(place) for place in places if place not in points.get(key, ())]:
                    raise ConfigError(f"{name} of '{key}' takes some of its points, got {missing}")
        if any(self.goals.values()) and not any(self.objects.values()):
            raise ConfigError(f"goals of {self.name} want objects that are brought there; got none")

    def at_rate(self, hz: float) -> EnvSpec:
        """The same environment in a loop that keeps ``hz`` decisions per second; 0 keeps none."""
        return replace(self, control_hz=hz) if hz else self

    def _places(self, name: str) -> dict[str, tuple[tuple[int, ...], ...]]:
        given = getattr(self, name)
        try:
            result = {
                key: tuple(tuple(int(index) for index in place) for place in places)
                for key, places in given.items()
            }
        except (AttributeError, TypeError, ValueError) as error:
            raise ConfigError(f"{name} of {self.name} {_POINTS_TAKE}; got {given!r}") from error
        if {len(place) for places in result.values() for place in places} not in (set(), {2}, {3}):
            raise ConfigError(f"{name} of {self.name} {_POINTS_TAKE}; got {given!r}")
        return result

    def to_json(self) -> dict[str, Any]:
        """Plain values; the inverse of :meth:`from_json`."""
        action = self.action
        return {
            "name": self.name,
            "observation": {k: [list(v.shape), v.dtype] for k, v in self.observation.items()},
            "action": [action.size, list(action.gripper), list(action.gripper_values)],
            "max_episode_steps": self.max_episode_steps,
            "control_hz": self.control_hz,
            "points": {key: [list(place) for place in at] for key, at in self.points.items()},
            "objects": {key: [list(place) for place in at] for key, at in self.objects.items()},
            "goals": {key: [list(place) for place in at] for key, at in self.goals.items()},
        }

    @classmethod
    def from_json(cls, data: Any) -> EnvSpec:
        """The spec that :meth:`to_json` wrote down.

        Raises:
            DataError: if it is none.
        """
        try:
            size, gripper, values = data["action"]
            return cls(
                name=data["name"],
                observation={
                    key: ArraySpec(tuple(shape), dtype)
                    for key, (shape, dtype) in data["observation"].items()
                },
                action=ActionSpec(size, tuple(gripper), tuple(values)),
                max_episode_steps=data["max_episode_steps"],
                control_hz=data["control_hz"],
                points=data.get("points", {}),  # since format 4
                objects=data.get("objects", {}),  # since format 6
                goals=data.get("goals", {}),
            )
        except (AttributeError, ConfigError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"this is no environment's spec: {error!r}") from error

    def conform_observation(self, observation: Mapping[str, Any]) -> Observation:
        """A copy (environments may reuse their arrays) with the spec's dtypes; NaN passes.

        Raises:
            SpecError: on missing or surplus keys, a wrong shape or dtype; names the key.
        """
        self._check_keys(observation)
        return {
            key: spec.conform(self._called(key, spec), observation[key])
            for key, spec in self.observation.items()
        }

    def validate_observation(self, observation: Mapping[str, Any]) -> Observation:
        """A checked copy with the spec's dtypes; errors name the key.

        Raises:
            SpecError: on missing or surplus keys, a wrong shape or dtype.
            NonFiniteError: on NaN or infinity.
        """
        self._check_keys(observation)
        return {
            key: spec.validate(self._called(key, spec), observation[key])
            for key, spec in self.observation.items()
        }

    def _called(self, key: str, array: ArraySpec) -> str:
        """What errors call an observation; of a text also who asks for what is to be done."""
        return f"observation.{key}" + (f" of {self.name}" if array.is_text else "")

    def _check_keys(self, observation: Mapping[str, Any]) -> None:
        if set(observation) != set(self.observation):
            missing = self.observation.keys() - set(observation)
            camera = any(self.observation[key].is_image for key in missing)
            raise (CameraFault if camera else SpecError)(
                f"observation of {self.name} has keys {sorted(observation)}; "
                f"the spec says {sorted(self.observation)}"
            )
