"""Layers of frozen encoders, NHWC, as fast as one CPU core allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import lax

Padding = str | tuple[tuple[int, int], tuple[int, int]]
_AXES = ("NHWC", "HWIO", "NHWC")


def convolution(
    x: jax.Array, layer: Mapping[str, jax.Array], stride: int = 1, padding: Padding = "SAME"
) -> jax.Array:
    """(N, H, W, I) -> (N, H', W', O); ``SAME`` is TensorFlow's: the odd pixel is at the end.

    Args:
        x: maps.
        layer: ``kernel`` (height, width, I, O), and ``bias`` (O) if it has one.
        stride: of both axes.
        padding: a name of JAX's, or ((top, bottom), (left, right)).
    """
    kernel = layer["kernel"]
    if kernel.shape[:2] == (1, 1) and stride == 1:
        y = x.reshape(-1, x.shape[-1]) @ kernel[0, 0]  # a matrix product: no window is gathered
        y = y.reshape(*x.shape[:-1], kernel.shape[-1])
    else:
        y = lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=_AXES)
    return y + layer["bias"][None, None, None] if "bias" in layer else y


def depthwise(x: jax.Array, layer: Mapping[str, jax.Array], stride: int = 1) -> jax.Array:
    """(N, H, W, C) -> (N, H/stride, W/stride, C), a filter per channel, ``SAME`` padding.

    A sum of the shifted maps, each times one row of the kernel. XLA fuses it into one pass; its own
    convolution with a group per channel takes 30 times as long on a CPU.

    Args:
        x: maps.
        layer: ``kernel`` (K, K, C) and ``bias`` (C).
        stride: of both axes.
    """
    kernel = layer["kernel"]
    count, height, width, channels = x.shape
    size = kernel.shape[0]
    (rows, above), (columns, left) = (_same(side, size, stride) for side in (height, width))
    x = jnp.pad(x, ((0, 0), above, left, (0, 0)))
    total = jnp.broadcast_to(layer["bias"], (count, rows, columns, channels))
    for i in range(size):
        for j in range(size):
            end = (count, i + (rows - 1) * stride + 1, j + (columns - 1) * stride + 1, channels)
            shifted = lax.slice(x, (0, i, j, 0), end, (1, stride, stride, 1))
            total = total + shifted * kernel[i, j][None, None, None]
    return total


def in_chunks(apply: Callable[[jax.Array], jax.Array], frames: jax.Array, size: int) -> jax.Array:
    """``apply(frames)``, on a CPU ``size`` frames at a time.

    For networks of depthwise convolutions: they do little with each number of maps that are large.
    Those of two frames of 128 pixels stay in a core's cache; with 32 at once EfficientNet-Lite0
    takes twice the time. A GPU takes all at once.
    """
    count = len(frames)
    if count <= size:
        return apply(frames)

    def chunked(frames: jax.Array) -> jax.Array:
        zeros = jnp.zeros((-count % size, *frames.shape[1:]), frames.dtype)
        chunks = jnp.concatenate([frames, zeros]).reshape(-1, size, *frames.shape[1:])
        maps = lax.map(apply, chunks)
        return maps.reshape(-1, *maps.shape[2:])[:count]

    return lax.platform_dependent(frames, cpu=chunked, default=apply)


def _same(side: int, size: int, stride: int) -> tuple[int, tuple[int, int]]:
    """Length after a convolution of TensorFlow's ``SAME``, and zeros before and behind."""
    length = -(-side // stride)
    zeros = max((length - 1) * stride + size - side, 0)
    return length, (zeros // 2, zeros - zeros // 2)


def relu6(x: jax.Array) -> jax.Array:
    """max(0, min(x, 6))."""
    return jnp.clip(x, 0.0, 6.0)
