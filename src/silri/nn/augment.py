"""Random shifts: what moves everything by as much changes nothing about what is to be done.

The counterpart, for vectors, of the random crops that image policies are trained with (DrQ,
arXiv 2004.13649; HIL-SERL's encoders): a hand 3 cm left of a cup is 3 cm left of it anywhere on
the table.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

Points = tuple[tuple[str, tuple[tuple[int, int], ...]], ...]  # (key, ((x, y), ...)), hashable


def shift(
    observation: Mapping[str, jax.Array], points: Points, offset: jax.Array
) -> dict[str, jax.Array]:
    """Move all ``points`` of an observation by one offset.

    Args:
        observation: (..., *shape) per key.
        points: the indices of x and y of every position in a vector observation.
        offset: (..., 2), metres.

    Returns:
        A new observation; what is not among ``points`` is as it was.
    """
    shifted = dict(observation)
    for key, pairs in points:
        into = np.zeros((2, observation[key].shape[-1]), np.float32)
        for x, y in pairs:
            into[0, x] = into[1, y] = 1.0
        # A product and not a scatter, which XLA does one number at a time on a CPU.
        moved = jnp.matmul(offset, into, precision=jax.lax.Precision.HIGHEST)
        shifted[key] = observation[key] + moved
    return shifted
