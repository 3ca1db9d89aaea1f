"""How far SiLRI's policy strays from its mean while it learns."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from silri.agents.losses import masked_mean
from silri.core.transition import Batch

ITERATIONS = 2000  # over which the deviation of a policy that nobody guides falls from 1
RATE = 0.01  # of the running share


def alone(iterations: jax.Array, usual: float) -> jax.Array:
    """Deviation while nobody has shown anything, (): from 1 at first to the ``usual`` one."""
    return jnp.maximum(1.0 - iterations.astype(jnp.float32) / ITERATIONS, usual)


def guided(human_std: jax.Array, worked: jax.Array, least: float, usual: float) -> jax.Array:
    """Deviation once somebody has shown something, (..., D).

    ::

        std = (1 - worked) usual + worked clip(sigma(s), least, usual)

    A robot that succeeds has little to find, and what strays where the person is sure looks to
    them like an error: there it strays as far as they do. A robot that fails strays as usual,
    because a person who is sure may be wrong.

    Args:
        human_std: sigma(s) of the person as learned, (..., D).
        worked: () share of the robot's own steps that were in episodes that succeeded.
        least: smallest deviation.
        usual: largest.
    """
    return usual + worked * (jnp.clip(human_std, least, usual) - usual)


def worked(before: jax.Array, batch: Batch) -> jax.Array:
    """The running share of the robot's own steps in episodes that succeeded, (); rows (B,)."""
    own = 1.0 - batch.is_intervention
    now = masked_mean(batch.columns["success"], own)
    return jnp.where(own.any(), before + RATE * (now - before), before)
