"""Losses that two or more agents share."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from silri.core.transition import Batch
from silri.nn.train_state import Loss


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    """sum(m v) / max(sum m, 1): finite, and 0, for an empty selection (trap T6)."""
    return jnp.sum(values * mask) / jnp.maximum(jnp.sum(mask), 1.0)


def gripper_cross_entropy(logits: jax.Array, classes: jax.Array, mask: jax.Array) -> Loss:
    """Cross-entropy on the person's gripper command, over steps where a person was in control.

    Args:
        logits: (B, G, C).
        classes: (B, G) int32.
        mask: (B,), 1 where a person was in control.

    Returns:
        The loss, summed over grippers and averaged over selected steps, and its metrics.
    """
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, classes).sum(axis=-1)
    correct = jnp.mean((jnp.argmax(logits, axis=-1) == classes).astype(jnp.float32), axis=-1)
    return masked_mean(loss, mask), {
        "gripper/loss": masked_mean(loss, mask),
        "gripper/accuracy": masked_mean(correct, mask),
    }


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


def guidance_rows(batch: Batch, online_fraction: float) -> Batch:
    """The rows of a mixed batch (B, ...) that came from the guidance buffer: the last ones."""
    rows = batch.action.shape[0]
    start = round(rows * online_fraction)
    if start == rows:
        return batch
    return jax.tree.map(lambda x: x[start:], batch)
