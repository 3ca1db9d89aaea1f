"""Observations as networks take them: one normalised vector, and frames as they are."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from silri.core.errors import ConfigError
from silri.core.specs import EnvSpec
from silri.nn.augment import Points, seen_from_first
from silri.nn.observer import VECTOR

LARGEST_DEVIATION_M = 2.0  # of a position over the demonstrations; more is no table in metres
Statistics = Mapping[str, tuple[np.ndarray, np.ndarray]]  # (mean, std) per key


class Normalizer(struct.PyTreeNode):
    """Fixed statistics of the vectors, saved with the policy.

    Attributes:
        mean, std: dict of (*shape) per key of a vector.
        points: where positions are.
        given: keys that come at a scale of their own, which demonstrations do not change: a few
            sentences say nothing about the numbers of one that nobody has said yet.
        unit: scale in metres of positions as seen from the hand (the first of ``points``), which
            are features too; 0 leaves them out.
    """

    mean: dict[str, jax.Array]
    std: dict[str, jax.Array]
    points: Points = struct.field(pytree_node=False, default=())
    given: tuple[str, ...] = struct.field(pytree_node=False, default=())
    unit: float = struct.field(pytree_node=False, default=0.0)

    @classmethod
    def create(cls, spec: EnvSpec, unit: float = 0.0) -> Normalizer:
        """The identity, for observations of ``spec``."""
        vectors = {key: array for key, array in spec.observation.items() if array.is_vector}
        points = tuple((key, places) for key, places in spec.points.items() if places)
        return cls(
            mean={key: jnp.zeros(array.shape, jnp.float32) for key, array in vectors.items()},
            std={key: jnp.ones(array.shape, jnp.float32) for key, array in vectors.items()},
            points=points,
            given=tuple(sorted(key for key, array in vectors.items() if array.is_sentence)),
            unit=unit,
        )

    def fitted(self, statistics: Statistics) -> Normalizer:
        """With the statistics of the demonstrations.

        Args:
            statistics: (mean, std) per key; keys of images are ignored.

        Raises:
            ConfigError: positions that cannot be in metres are to be features in metres.
        """
        if self.unit:
            _check_metres(self.points, statistics)
        mean, std = (
            {
                key: own[key]
                if key in self.given
                else jnp.asarray(statistics[key][index], jnp.float32)
                for key in self.mean
            }
            for index, own in enumerate((self.mean, self.std))
        )
        return self.replace(mean=mean, std=std)

    def prepare(self, observation: Mapping[str, jax.Array | np.ndarray]) -> dict[str, jax.Array]:
        """What networks see: ``vector`` (..., V) float32, and every camera's frames.

        The vector has the normalised keys in alphabetical order, flattened; positions as seen
        from the hand come last.
        """
        parts = []
        for key in sorted(self.mean):
            mean, std = self.mean[key], self.std[key]
            value = jnp.asarray(observation[key], jnp.float32)
            batch_shape = value.shape[: value.ndim - mean.ndim]
            expand = (1,) * len(batch_shape)
            value = (value - mean.reshape(expand + mean.shape)) / std.reshape(expand + std.shape)
            parts.append(value.reshape((*batch_shape, -1)))
        if self.unit and self.points:
            vectors = {key: jnp.asarray(observation[key], jnp.float32) for key, _ in self.points}
            parts.append(seen_from_first(vectors, self.points) / self.unit)
        frames = {k: jnp.asarray(v) for k, v in observation.items() if k not in self.mean}
        return {VECTOR: jnp.concatenate(parts, axis=-1), **frames}


def _check_metres(points: Points, statistics: Statistics) -> None:
    """Raise ConfigError for positions that vary as none on a table in metres do."""
    for key, places in points:
        _, std = statistics[key]
        deviation = float(np.max(std[np.ravel(places)]))
        if deviation > LARGEST_DEVIATION_M:
            raise ConfigError(
                f"points of '{key}': a position has a standard deviation of {deviation:.4g} in "
                f"the demonstrations, more than {LARGEST_DEVIATION_M:g} metres; give observations "
                "in metres, or set augment.relative to 0"
            )
