"""A small convolutional encoder that is trained with the network that owns it."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp


class SmallCNN(nn.Module):
    """Frames (..., H, W, C) uint8 -> features (..., ``size``) float32.

    Four convolutions of 3x3, the first two of stride 2, then a spatial softmax: the expected
    place of each channel, in [-1, 1]. *Where* something is survives, with few parameters
    (arXiv 1504.00702). Frames are scaled to [0, 1] here, so that a replay may keep them as bytes.

    Attributes:
        channels: of every convolution; the softmax gives two coordinates for each.
        size: of the features.
    """

    channels: int = 32
    size: int = 64

    @nn.compact
    def __call__(self, frames: jax.Array) -> jax.Array:
        lead = frames.shape[:-3]
        x = frames.reshape((-1, *frames.shape[-3:])).astype(jnp.float32) / 255.0
        for index in range(4):
            stride = 2 if index < 2 else 1
            x = nn.relu(nn.Conv(self.channels, (3, 3), (stride, stride))(x))
        features = nn.tanh(nn.LayerNorm()(nn.Dense(self.size)(spatial_softmax(x))))
        return features.reshape((*lead, self.size))


def spatial_softmax(maps: jax.Array) -> jax.Array:
    """(N, H, W, C) -> (N, 2 C): the expected row and column of each channel, in [-1, 1]."""
    count, height, width, channels = maps.shape
    weights = jax.nn.softmax(maps.reshape(count, height * width, channels), axis=1)
    rows, columns = jnp.meshgrid(
        jnp.linspace(-1.0, 1.0, height), jnp.linspace(-1.0, 1.0, width), indexing="ij"
    )
    places = jnp.stack([rows.reshape(-1), columns.reshape(-1)], axis=-1)
    expected = jnp.einsum("npc,pk->nck", weights, places)
    return expected.reshape(count, 2 * channels)
