"""Continuous dimensions and gripper classes of an action vector, as an ActionSpec lays them out."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from silri.core.specs import ActionSpec


def continuous_part(spec: ActionSpec, action: jax.Array) -> jax.Array:
    """(..., A) -> (..., D)."""
    return action[..., np.asarray(spec.continuous, np.int32)]


def gripper_classes(spec: ActionSpec, action: jax.Array) -> jax.Array:
    """(..., A) -> (..., G) int32: the class whose value is nearest."""
    values = jnp.asarray(spec.gripper_values, action.dtype)
    commands = action[..., np.asarray(spec.gripper, np.int32)]
    distance = jnp.abs(commands[..., None] - values.reshape((1,) * commands.ndim + (-1,)))
    return jnp.argmin(distance, axis=-1).astype(jnp.int32)


def join(spec: ActionSpec, continuous: jax.Array, classes: jax.Array | None) -> jax.Array:
    """(..., D), (..., G) -> (..., A): the inverse of the two above."""
    if classes is None:
        return continuous
    values = jnp.asarray(spec.gripper_values, continuous.dtype)[classes]
    order = np.argsort(np.asarray(spec.continuous + spec.gripper)).astype(np.int32)
    return jnp.concatenate([continuous, values], axis=-1)[..., order]


def joint_class(spec: ActionSpec, classes: jax.Array) -> jax.Array:
    """(..., G) -> (...,): one index over all C ** G combinations (9 for two 3-way grippers)."""
    base = len(spec.gripper_values)
    weights = jnp.asarray(base ** np.arange(len(spec.gripper)), jnp.int32)
    return jnp.sum(classes * weights.reshape((1,) * (classes.ndim - 1) + (-1,)), axis=-1)


def split_joint_class(spec: ActionSpec, index: jax.Array) -> jax.Array:
    """(...,) -> (..., G): the inverse of :func:`joint_class`."""
    base = len(spec.gripper_values)
    weights = jnp.asarray(base ** np.arange(len(spec.gripper)), jnp.int32)
    weights = weights.reshape((1,) * index.ndim + (-1,))
    return ((index[..., None] // weights) % base).astype(jnp.int32)
