"""Pooling of a frozen map that keeps where things are, learned by the network that owns it."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp


class SpatialEmbedding(nn.Module):
    """Maps (..., h, w, C) -> features (..., ``size``): spatial learned embeddings, then a layer.

    Each channel is weighed by ``filters`` learned pictures of (h, w) and summed up (HIL-SERL's
    head, arXiv 2410.21845; LeRobot's ``SpatialLearnedEmbeddings``). An average would forget where.

    Attributes:
        filters: weighted sums of every channel.
        size: of the features, after a layer, a norm and a tanh.
    """

    filters: int = 8
    size: int = 64

    @nn.compact
    def __call__(self, maps: jax.Array) -> jax.Array:
        lead, (height, width, channels) = maps.shape[:-3], maps.shape[-3:]
        flat = maps.reshape((-1, height * width, channels)).astype(jnp.float32)
        kernel = self.param(
            "kernel", nn.initializers.lecun_normal(), (height * width, channels, self.filters)
        )
        embedded = jnp.einsum("npc,pcf->ncf", flat, kernel).reshape((len(flat), -1))
        features = nn.tanh(nn.LayerNorm()(nn.Dense(self.size)(embedded)))
        return features.reshape((*lead, self.size))
