"""Observations to one feature vector, by statistics of the demonstrations."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from silri.core.errors import ConfigError
from silri.core.specs import EnvSpec
from silri.nn.augment import Points, seen_from_first

LARGEST_DEVIATION_M = 2.0  # of a position over the demonstrations; more is no table in metres


class Normalizer(struct.PyTreeNode):
    """Fixed statistics, saved with the policy.

    Attributes:
        mean, std: dict of (*shape) per observation key.
        points: where positions are.
        objects, goals: those of them that are moved by the task, and where to.
        unit: metres; positions are features also as seen from the first of them, in this unit;
            0: they are not.
    """

    mean: dict[str, jax.Array]
    std: dict[str, jax.Array]
    points: Points = struct.field(pytree_node=False, default=())
    objects: Points = struct.field(pytree_node=False, default=())
    goals: Points = struct.field(pytree_node=False, default=())
    unit: float = struct.field(pytree_node=False, default=0.0)

    @classmethod
    def create(
        cls,
        spec: EnvSpec,
        statistics: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
        unit: float = 0.0,
    ) -> Normalizer:
        """From (mean, std) per key; without statistics, the identity.

        Raises:
            ConfigError: the spec has image observations, or positions that cannot be in metres are
                to be features in metres.
        """
        require_vectors(spec)
        mean, std = {}, {}
        for key, array in spec.observation.items():
            zero, one = np.zeros(array.shape, np.float32), np.ones(array.shape, np.float32)
            mean[key], std[key] = (
                (jnp.asarray(a, jnp.float32) for a in statistics[key])
                if statistics is not None
                else (jnp.asarray(zero), jnp.asarray(one))
            )
        points, objects, goals = (
            tuple((key, places) for key, places in named.items() if places)
            for named in (spec.points, spec.objects, spec.goals)
        )
        if unit and statistics is not None:
            _check_metres(spec, points, statistics)
        return cls(mean=mean, std=std, points=points, objects=objects, goals=goals, unit=unit)

    def features(self, observation: Mapping[str, jax.Array | np.ndarray]) -> jax.Array:
        """(..., F): normalised keys in alphabetical order, flattened and concatenated.

        Positions as seen from the first one come last, if there are any.
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
        return jnp.concatenate(parts, axis=-1)


def require_vectors(spec: EnvSpec) -> None:
    """Raise ConfigError for observations that no agent can learn from."""
    images = [key for key, array in spec.observation.items() if array.dtype == "uint8"]
    if images:
        raise ConfigError(
            f"{spec.name} has image observations {images}; this version trains on vectors"
        )


def _check_metres(
    spec: EnvSpec, points: Points, statistics: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> None:
    """Raise ConfigError for positions that vary as none on a table in metres do."""
    for key, places in points:
        _, std = statistics[key]
        deviation = float(np.max(std[np.ravel(places)]))
        if deviation > LARGEST_DEVIATION_M:
            raise ConfigError(
                f"points of '{key}': a position of {spec.name} has a standard deviation of "
                f"{deviation:.4g} in the demonstrations, more than {LARGEST_DEVIATION_M:g} "
                "metres; give observations in metres, or set agent.relative to 0"
            )
