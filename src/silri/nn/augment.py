"""What knowing where positions are is good for: shifts, and positions as seen from the hand.

Random shifts: what moves everything by as much changes nothing about what is to be done. The
counterpart, for vectors, of the random crops that image policies are trained with (DrQ,
arXiv 2004.13649; HIL-SERL's encoders): a hand 3 cm left of a cup is 3 cm left of it anywhere on
the table.

Shifts of goals: while nothing but the hand moves, where something will be brought does not matter
yet. Layouts that vary by centimetres do not show that, and a network that has seen no other takes
the goal for a landmark.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

Points = tuple[tuple[str, tuple[tuple[int, ...], ...]], ...]  # (key, ((x, y[, z]), ...))


def shift(
    observation: Mapping[str, jax.Array], points: Points, offset: jax.Array
) -> dict[str, jax.Array]:
    """Move all ``points`` of an observation by one offset.

    Args:
        observation: (..., *shape) per key.
        points: the indices of x, y and perhaps z of every position in a vector observation.
        offset: (..., C), metres; of x and y, or of all coordinates that ``points`` have.

    Returns:
        A new observation; what is not among ``points`` is as it was.
    """
    shifted = dict(observation)
    for key, places in points:
        into = np.zeros((offset.shape[-1], observation[key].shape[-1]), np.float32)
        for place in places:
            for axis, index in enumerate(place[: len(into)]):
                into[axis, index] = 1.0
        # A product and not a scatter, which XLA does one number at a time on a CPU.
        moved = jnp.matmul(offset, into, precision=jax.lax.Precision.HIGHEST)
        shifted[key] = observation[key] + moved
    return shifted


def at_rest(
    before: Mapping[str, jax.Array],
    after: Mapping[str, jax.Array],
    points: Points,
    tolerance: float,
) -> jax.Array:
    """(...,) whether none of ``points`` differs by more than ``tolerance`` (metres) on any axis."""
    travels = []
    for key, places in points:
        indices = np.asarray(places).ravel()
        travels.append(jnp.abs(after[key][..., indices] - before[key][..., indices]))
    return jnp.max(jnp.concatenate(travels, axis=-1), axis=-1) <= tolerance


def seen_from_first(observation: Mapping[str, jax.Array], points: Points) -> jax.Array:
    """Every other position minus the first: (..., *shape) per key -> (..., (P - 1) C), metres.

    C is 2 or 3, as many coordinates as ``points`` have; P counts all of them, of all keys.
    """
    (first_key, first), *others = [(key, place) for key, places in points for place in places]
    result: jax.Array | float = 0.0
    for key in dict.fromkeys([first_key, *(key for key, _ in others)]):
        into = np.zeros((observation[key].shape[-1], len(others), len(first)), np.float32)
        for column, (at, place) in enumerate(others):
            axes = np.arange(len(first))
            if at == key:
                into[place, column, axes] += 1.0
            if first_key == key:
                into[first, column, axes] -= 1.0
        differences = into.reshape(len(into), -1)
        result += jnp.matmul(observation[key], differences, precision=jax.lax.Precision.HIGHEST)
    return jnp.asarray(result)


def random_crop(key: jax.Array, frames: jax.Array, pixels: int) -> jax.Array:
    """Frames (..., H, W, C), each moved by its own offset of up to ``pixels`` in both directions.

    What comes in at an edge repeats it: padding and cropping back, as DrQ does.
    """
    lead, (height, width, channels) = frames.shape[:-3], frames.shape[-3:]
    flat = frames.reshape((-1, height, width, channels))
    padded = jnp.pad(flat, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), mode="edge")
    offsets = jax.random.randint(key, (len(flat), 2), 0, 2 * pixels + 1)

    def crop(frame: jax.Array, offset: jax.Array) -> jax.Array:
        start = (offset[0], offset[1], jnp.zeros((), offset.dtype))
        return jax.lax.dynamic_slice(frame, start, (height, width, channels))

    return jax.vmap(crop)(padded, offsets).reshape((*lead, height, width, channels))
