"""The eyes of a network: from prepared observations to one feature vector.

Every network owns its eyes (``observer`` is its first submodule), so an encoder is trained by the
loss of the network that it belongs to, is copied into that network's target and average, and is
saved with it. Observations are prepared before (:mod:`silri.nn.normalizer`): all vectors, an
instruction's embedding included, are one normalised ``vector``; frames are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from silri.core.specs import EnvSpec
from silri.nn.encoders.cnn import SmallCNN
from silri.nn.encoders.spatial import SpatialEmbedding

VECTOR = "vector"  # key of a prepared observation: (..., V) float32


class Observer(nn.Module):
    """A prepared observation -> features (..., F).

    Attributes:
        cameras: keys of the frames (..., H, W, C) that are looked at; each has an encoder of its
            own. Without cameras there is no parameter, and the features are the vector.
        maps: keys of maps (..., h, w, C) of a frozen encoder; each has a pooling of its own.
    """

    cameras: tuple[str, ...] = ()
    maps: tuple[str, ...] = ()

    @nn.compact
    def __call__(self, observation: Mapping[str, jax.Array]) -> jax.Array:
        parts = [observation[VECTOR]]
        for camera in self.cameras:
            name = "encoder_" + camera.replace(".", "_")
            parts.append(SmallCNN(name=name)(observation[camera]))
        for key in self.maps:
            name = "pooling_" + key.replace(".", "_")
            parts.append(SpatialEmbedding(name=name)(observation[key]))
        return jnp.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]


def observer_for(spec: EnvSpec) -> Observer:
    """Eyes for what ``spec`` describes: an encoder for each key of frames, a pooling per map."""
    arrays = spec.observation.items()
    return Observer(
        tuple(key for key, array in arrays if array.is_image),
        tuple(key for key, array in arrays if array.is_map),
    )
