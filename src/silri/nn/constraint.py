"""How far a policy is from a person, and how far it may be: D(s) and bound(s) of SiLRI."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

from silri.nn.distributions import safe_norm

Distance = Literal["l2", "sq_l2", "kl"]
Spread = Literal["dims", "sum_var", "sum_std", "mean_std", "none"]


def distance(kind: Distance, difference: jax.Array, std: jax.Array, least: float) -> jax.Array:
    """D(s): (..., D) -> (...,).

    ============  ==========================================================================
    l2            ||x||
    sq_l2         ||x||^2
    kl            1/2 sum_j (x_j / sigma_j)^2: the divergence of two Gaussians that share sigma
    ============  ==========================================================================

    Args:
        kind: one of the table.
        difference: x = pi(s) - mu(s).
        std: sigma(s), the person's deviation.
        least: floor of sigma in ``kl``: a person who never varied is not infinitely sure.
    """
    if kind == "l2":
        return safe_norm(difference)
    if kind == "sq_l2":
        return jnp.sum(difference**2, axis=-1)
    return 0.5 * jnp.sum((difference / jnp.maximum(std, least)) ** 2, axis=-1)


def spread(kind: Spread, std: jax.Array) -> jax.Array:
    """What the bound grows with, from sigma(s): (..., D) -> (...,).

    ``dims`` is D in every state, for distances that sigma is in already; ``none`` is 0.
    """
    if kind in ("none", "dims"):
        return jnp.full(std.shape[:-1], 0 if kind == "none" else std.shape[-1], std.dtype)
    if kind == "sum_var":
        return jnp.sum(std * std, axis=-1)
    return (jnp.sum if kind == "sum_std" else jnp.mean)(std, axis=-1)
