"""Diagonal Gaussians, plain and tanh-squashed, and the soft bound of a log scale."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


def normal_log_prob(value: jax.Array, mean: jax.Array, std: jax.Array) -> jax.Array:
    """log N(value; mean, std^2 I), summed over the last axis: (..., D) -> (...,)."""
    z = (value - mean) / std
    return jnp.sum(-0.5 * z * z - jnp.log(std) - _HALF_LOG_2PI, axis=-1)


def squashed_sample(key: jax.Array, mean: jax.Array, std: jax.Array) -> tuple[jax.Array, jax.Array]:
    """a = tanh(u), u ~ N(mean, std^2): (..., D) and its log-density (...,).

    log p(a) = log N(u) - sum log(1 - tanh(u)^2), the last term in its stable form
    2 (log 2 - u - softplus(-2u)).
    """
    u = mean + std * jax.random.normal(key, mean.shape, mean.dtype)
    correction = 2.0 * (math.log(2.0) - u - jax.nn.softplus(-2.0 * u))
    return jnp.tanh(u), normal_log_prob(u, mean, std) - jnp.sum(correction, axis=-1)


def soft_clip(x: jax.Array, low: float, high: float) -> jax.Array:
    """Near the identity inside (low, high), bounded by them, never without a gradient.

    A hard clip has none outside, so a scale that reached its floor would stay there for ever.
    """
    x = high - jax.nn.softplus(high - x)
    # x - low now ends at high - low, where softplus is a little above it.
    width = high - low
    return low + width / math.log1p(math.exp(width)) * jax.nn.softplus(x - low)


def safe_norm(x: jax.Array) -> jax.Array:
    """sqrt(sum x^2 + 1e-12) over the last axis: the gradient is finite at 0."""
    return jnp.sqrt(jnp.sum(x * x, axis=-1) + 1e-12)
