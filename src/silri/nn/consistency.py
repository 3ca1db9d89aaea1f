r"""Consistency policies: an action from noise in one step (arXiv 2303.01469, 2309.16984).

::

    f(s, x, k) = c_skip(k) x + c_out(k) F(s, c_in(k) x, k)

maps an action that noise of level k was added to back to the action. ``c_skip(k_min) = 1`` and
``c_out(k_min) = 0``: what has no noise is left as it is. To act, x = k_max z with z ~ N(0, I).
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from silri.nn.heads import Observation
from silri.nn.mlp import ACTIVATIONS, MLP, Trunk
from silri.nn.observer import Observer

SIGMA_DATA = 0.5  # deviation that actions are taken to have
K_MIN, K_MAX = 0.002, 80.0  # noise that counts as none, and noise that leaves nothing of an action
LEVELS, RHO = 40, 7.0  # M, and how much the levels crowd towards k_min
TIME_SIZE = 16  # numbers that a noise level is written with


def noise_levels() -> jax.Array:
    """k_0 = k_max > ... > k_{M-1} = k_min, (M,): a straight line in k^{1/rho}."""
    first, last = K_MAX ** (1.0 / RHO), K_MIN ** (1.0 / RHO)
    return jnp.asarray(np.linspace(first, last, LEVELS) ** RHO, jnp.float32)


def draw_levels(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Levels for a loss: uniform over the grid without k_min, where there is nothing to learn."""
    return noise_levels()[jax.random.randint(key, shape, 0, LEVELS - 1)]


def scalings(level: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """c_skip, c_out and c_in of noise levels (...,)."""
    spread = jnp.sqrt(level**2 + SIGMA_DATA**2)
    c_skip = SIGMA_DATA**2 / ((level - K_MIN) ** 2 + SIGMA_DATA**2)
    c_out = (level - K_MIN) * SIGMA_DATA / spread
    return c_skip, c_out, 1.0 / spread


def weight(level: jax.Array) -> jax.Array:
    """w(k) = k^-2 + sigma_data^-2: what an error at noise level (...,) counts ("karras")."""
    return level**-2 + SIGMA_DATA**-2


class TimeEmbedding(nn.Module):
    """250 ln k as sines and cosines, and two small layers: (...,) -> (..., TIME_SIZE)."""

    trunk: Trunk

    @nn.compact
    def __call__(self, level: jax.Array) -> jax.Array:
        half = TIME_SIZE // 2
        frequencies = np.exp(-np.log(10_000.0) * np.arange(half) / (half - 1))
        angles = (250.0 * jnp.log(level))[..., None] * jnp.asarray(
            frequencies.reshape((1,) * level.ndim + (half,)), jnp.float32
        )
        init = nn.initializers.xavier_uniform()
        time = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
        hidden = ACTIVATIONS[self.trunk.activation](nn.Dense(2 * TIME_SIZE, kernel_init=init)(time))
        return nn.Dense(TIME_SIZE, kernel_init=init)(hidden)


class ConsistencyPolicy(nn.Module):
    """f(s, x, k): observation (B), x (..., B, D), k (..., B) -> (..., B, D), *not* clipped.

    Further leading axes of x are several draws for each observation, which is looked at once.

    Attributes:
        observer, trunk, size: eyes, hidden layers, D.
    """

    observer: Observer
    trunk: Trunk
    size: int

    @nn.compact
    def __call__(self, observation: Observation, noisy: jax.Array, level: jax.Array) -> jax.Array:
        features = self.observer(observation)
        features = jnp.broadcast_to(features, (*noisy.shape[:-1], features.shape[-1]))
        c_skip, c_out, c_in = (scale[..., None] for scale in scalings(level))
        inputs = [c_in * noisy, TimeEmbedding(self.trunk)(level), features]
        hidden = MLP(self.trunk)(jnp.concatenate(inputs, axis=-1))
        output = nn.Dense(self.size, kernel_init=nn.initializers.xavier_uniform())(hidden)
        return c_skip * noisy + c_out * output
