"""When a robot should ask for help: where its critics disagree most, a fixed share of the time."""

from __future__ import annotations

import jax
import jax.numpy as jnp

RATE = 0.1  # of the threshold, relative to the mean doubt


def doubt(q: jax.Array) -> jax.Array:
    """(E, ...) critics -> (...,): how far the ensemble is apart; 0 for one critic."""
    return q.max(axis=0) - q.min(axis=0)


def follow_quantile(
    threshold: jax.Array, doubts: jax.Array, weights: jax.Array, share: float
) -> jax.Array:
    """A step of the threshold that ``share`` of the doubts (B,) should exceed.

    From 0 it rises fast and then settles; it falls slowly. ``weights`` (B,) say which rows count.
    """
    total = jnp.maximum(jnp.sum(weights), 1.0)
    excess = jnp.sum(weights * ((doubts > threshold).astype(doubts.dtype) - share)) / total
    return threshold + RATE * jnp.sum(weights * doubts) / total * excess
