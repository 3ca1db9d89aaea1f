"""What of a Gymnasium environment's spaces silri can use, and under which names.

Whatever a policy cannot act in, or the store cannot keep, is refused here: with the key, the space
and a remedy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

import gymnasium
import numpy as np
from PIL import Image

from silri.core.errors import ConfigError
from silri.core.specs import ArraySpec
from silri.core.values import numbers

_CAMERAS = ("pixels", "images")  # a Dict of them
_RENAMED = {"agent_pos": "state"}
_CHANNELS = (1, 3)  # of an image
_WRAPPER = "wrap the environment (gymnasium.ObservationWrapper)"
_SHOWN = 200  # characters of a space in a message


class ActionScaling:
    """[-1, 1] to a bounded Box and back, the two exact inverses of each other."""

    def __init__(self, box: gymnasium.spaces.Box) -> None:
        """For a Box whose bounds are finite."""
        self._shape, self._dtype = box.shape, box.dtype
        self._low = box.low.astype(np.float64).ravel()
        self._high = box.high.astype(np.float64).ravel()

    def to_env(self, action: np.ndarray) -> np.ndarray:
        """(A,) in [-1, 1] to the Box's shape and range, never outside it."""
        share = (np.asarray(action, np.float64) + 1.0) / 2.0
        scaled = (1.0 - share) * self._low + share * self._high
        return np.clip(scaled, self._low, self._high).reshape(self._shape).astype(self._dtype)

    def from_env(self, action: np.ndarray) -> np.ndarray:
        """The inverse: a Box's element to (A,) float32 in [-1, 1]."""
        half = self._high / 2.0 - self._low / 2.0  # of the halves: the whole range may overflow
        share = (np.asarray(action, np.float64).ravel() / 2.0 - self._low / 2.0) / half
        return (2.0 * share - 1.0).astype(np.float32)


def action_box(space: gymnasium.Space[Any], name: str) -> gymnasium.spaces.Box:
    """The action space, if it is one that can be rescaled from [-1, 1].

    Raises:
        ConfigError: it is another.
    """
    wrapper = "wrap the environment (gymnasium.ActionWrapper)"
    if not isinstance(space, gymnasium.spaces.Box):
        _refuse(
            f"{name}: action space",
            space,
            f"silri's policies are continuous; it takes a bounded Box, so {wrapper}",
        )
    if not np.issubdtype(space.dtype, np.floating):
        what = f"its numbers are {space.dtype}; it takes a Box of floats, so {wrapper}"
        _refuse(f"{name}: action space", space, what)
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        _refuse(
            f"{name}: action space",
            space,
            "it has no bounds to rescale [-1, 1] to; it takes a bounded Box "
            "(gymnasium.wrappers.RescaleAction, or finite low, high)",
        )
    if space.low.size == 0 or not (space.low < space.high).all():
        _refuse(
            f"{name}: action space",
            space,
            "low must be below high in every dimension; leave out the dimensions that cannot move",
        )
    return space


class Part(NamedTuple):
    """One array of an observation.

    Attributes:
        path: keys from the environment's observation to it.
        key: silri's name.
        spec: as silri has it.
        given: as the environment has it; another size only of an image.
    """

    path: tuple[str, ...]
    key: str
    spec: ArraySpec
    given: ArraySpec

    def take(self, value: Any) -> np.ndarray:
        """What the environment gives, as silri has it.

        Raises:
            SpecError: an image has not the shape that the space says, or it is no numbers.
        """
        if not self.spec.is_image:
            return numbers(f"observation.{self.key}", value).ravel()
        array = np.asarray(value)
        if self.spec == self.given:
            return array
        return square(self.given.conform(f"observation.{self.key}", array), self.spec.shape[0])


def square(image: np.ndarray, size: int) -> np.ndarray:
    """The middle square of (H, W, C) uint8, resized to (size, size, C), each pixel an average."""
    height, width, channels = image.shape
    side = min(height, width)
    left, upper = (width - side) // 2, (height - side) // 2
    middle = image[upper : upper + side, left : left + side]
    picture = Image.fromarray(middle[..., 0] if channels == 1 else middle)
    resized = np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR))
    return resized.reshape(size, size, channels)


def select_images(
    parts: tuple[Part, ...], name: str, keys: tuple[str, ...] | None, size: int | None
) -> tuple[Part, ...]:
    """Those parts that are kept, with their images at the size that a policy sees.

    Args:
        parts: of :func:`observation_parts`.
        name: of the environment.
        keys: cameras to keep, as they are called here, with or without ``images.``; None: all.
        size: pixels per side of the square; None: as they are.

    Raises:
        ConfigError: there is no such camera; lists them.
    """
    cameras = [part.key for part in parts if part.spec.is_image]
    kept = cameras if keys is None else [f"images.{key.removeprefix('images.')}" for key in keys]
    if unknown := [key.removeprefix("images.") for key in kept if key not in cameras]:
        have = ", ".join(key.removeprefix("images.") for key in cameras) or "none"
        raise ConfigError(f"env.image_keys: {name} has no camera {unknown}; it has {have}")
    chosen = tuple(part for part in parts if not part.spec.is_image or part.key in kept)
    if not chosen:
        raise ConfigError(f"env.image_keys = {keys!r}: nothing of {name} would be left to see")
    return tuple(
        part._replace(spec=ArraySpec((size, size, part.spec.shape[2]), "uint8"))
        if size is not None and part.spec.is_image
        else part
        for part in chosen
    )


def observation_parts(space: gymnasium.Space[Any], name: str) -> tuple[Part, ...]:
    """Every array of the observations in ``space``.

    Raises:
        ConfigError: there is one that the store or a policy has no place for; names its key.
    """
    leaves = list(_leaves(space, (), name))
    keys = [_key(path, box) for path, box in leaves]
    # An encoder's parameters have its camera's name with lines in the place of dots.
    alike = [
        key.replace(".", "_") if _is_image(box) else key
        for key, (_, box) in zip(keys, leaves, strict=True)
    ]
    doubles = sorted({k for k, each in zip(keys, alike, strict=True) if alike.count(each) > 1})
    if doubles:
        called = f"two arrays would be called {doubles}; rename one, {_WRAPPER}"
        _refuse(f"{name}: observation space", space, called)
    return tuple(
        Part(path, key, _array_spec(box), _array_spec(box))
        for (path, box), key in zip(leaves, keys, strict=True)
    )


def _array_spec(box: gymnasium.spaces.Box) -> ArraySpec:
    if _is_image(box):
        return ArraySpec(box.shape, "uint8")
    return ArraySpec((math.prod(box.shape),))


def _leaves(
    space: gymnasium.Space[Any], path: tuple[str, ...], name: str
) -> Iterator[tuple[tuple[str, ...], gymnasium.spaces.Box]]:
    at = f" at '{'.'.join(path)}'" if path else ""
    where = f"{name}: observation space{at}"
    if isinstance(space, gymnasium.spaces.Dict):
        if not len(space):
            _refuse(where, space, f"it is empty; leave it out: {_WRAPPER}")
        for key, child in space.items():
            _check_key(where, space, key)
            yield from _leaves(child, (*path, key), name)
    elif isinstance(space, gymnasium.spaces.Box):
        if not math.prod(space.shape):
            _refuse(where, space, f"it has no elements; leave it out: {_WRAPPER}")
        if _is_image(space) and space.shape[2] not in _CHANNELS:
            _refuse(
                where,
                space,
                "uint8 with three axes is an image, (height, width, 3) or (height, width, 1); "
                "declare it float32 if it is none, or move its colours to the last axis: "
                f"{_WRAPPER}",
            )
        yield path, space
    else:
        _refuse(
            where,
            space,
            "it is neither a Box nor a Dict of Boxes; flatten it "
            "(gymnasium.wrappers.FlattenObservation)",
        )


def _check_key(where: str, space: gymnasium.Space[Any], key: Any) -> None:
    """Whether a key can be the name of a column."""
    if not isinstance(key, str):
        _refuse(where, space, f"its key {key!r} is no text; rename it: {_WRAPPER}")
    if not key:
        _refuse(where, space, f"its key '' is empty; give it a name: {_WRAPPER}")
    if not key.isprintable():
        _refuse(where, space, f"its key {key!r} cannot be printed; rename it: {_WRAPPER}")


def _refuse(what: str, space: gymnasium.Space[Any], why: str) -> NoReturn:
    text = " ".join(str(space).split())
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    raise ConfigError(f"{what} {shown} is unsupported: {why}")


def _is_image(box: gymnasium.spaces.Box) -> bool:
    return box.dtype == np.uint8 and len(box.shape) == 3


def _key(path: tuple[str, ...], box: gymnasium.spaces.Box) -> str:
    if _is_image(box):
        camera = path[1:] if len(path) > 1 and path[0] in _CAMERAS else path or ("pixels",)
        return "images." + ".".join(camera).removeprefix("images.")
    joined = ".".join(path)
    return _RENAMED.get(joined, joined) if path else "state"
