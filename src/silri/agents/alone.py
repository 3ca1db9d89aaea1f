"""What keeps a deterministic policy that nobody guides away from the corners of the box."""

from __future__ import annotations

import jax
import jax.numpy as jnp

CORNER = 0.01  # weight of the barrier, in units of Q's size


def barrier(actions: jax.Array, q: jax.Array) -> jax.Array:
    """-w mean|Q| mean sum_j log(1 - a_j^2), (): keeps actions (B, D) off the corners of the box.

    There tanh is flat: an actor that follows the first slopes of a young critic (B,) into a corner
    would never come back. Its pull is bounded, and falls with the size of Q.
    """
    corner = -jnp.mean(jnp.sum(jnp.log1p(1e-6 - actions**2), axis=-1))
    return CORNER * jax.lax.stop_gradient(jnp.mean(jnp.abs(q))) * corner
