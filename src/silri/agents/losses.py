"""Losses that two or more agents share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

from silri.nn.distributions import safe_norm
from silri.nn.train_state import Loss

Rows = TypeVar("Rows")


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    """sum(m v) / max(sum m, 1): finite, and 0, for an empty selection (trap T6)."""
    return jnp.sum(values * mask) / jnp.maximum(jnp.sum(mask), 1.0)


def temporal_difference(q: jax.Array, target: jax.Array) -> Loss:
    """sum_k mean_B (Q_k - y)^2: every member regresses to one target.

    Args:
        q: (E, B) online ensemble.
        target: (B,) detached.
    """
    error = q - target[None]
    return jnp.sum(jnp.mean(error * error, axis=-1)), {
        "critic/loss": jnp.mean(error * error),
        "critic/q": jnp.mean(q),
        "critic/target": jnp.mean(target),
    }


def guidance_rows(batch: Rows, online_fraction: float) -> Rows:
    """The rows of a mixed batch (B, ...) that came from the guidance buffer: the last ones.

    ``batch`` is any pytree with leading axes (B,); all of it if every row is online.
    """
    rows = jax.tree.leaves(batch)[0].shape[0]
    start = round(rows * online_fraction) % rows
    return jax.tree.map(lambda x: x[start:], batch)


def linearised(
    value: Callable[[jax.Array], jax.Array], actions: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """``value(actions)``, (B, D) -> (B,), differentiable in ``actions``; and its mean slope, ().

    The gradient is taken once and written out, so that the mean of its norm costs nothing more.
    """
    here = jax.lax.stop_gradient(actions)
    values, pull = jax.vjp(value, here)
    gradient = jax.lax.stop_gradient(pull(jnp.ones_like(values))[0])
    return values + jnp.sum(gradient * (actions - here), axis=-1), jnp.mean(safe_norm(gradient))
