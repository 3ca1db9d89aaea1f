"""How far a policy is from a person, and how far it may be: D(s) and bound(s) of SiLRI."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from silri.nn.distributions import safe_norm

Kind = Literal["kl", "released", "paper"]
LEAST_DEVIATION = 0.1  # floor of sigma in "kl": a person who never varied is not infinitely sure


@dataclass(frozen=True)
class Constraint:
    """One form of ``D(s) <= bound(s)``; x = pi(s) - mu(s), sigma(s) is the person's deviation.

    Attributes:
        distance: x, sigma (..., D) -> D(s) (...,).
        spread: sigma (..., D) -> what the bound grows with (...,).
        slack: bound(s) = kappa * spread + slack.
        variance: the human policy's scale output is a variance; else a deviation.
        scale_bounds: soft bounds of that output.
    """

    distance: Callable[[jax.Array, jax.Array], jax.Array]
    spread: Callable[[jax.Array], jax.Array]
    slack: float
    variance: bool
    scale_bounds: tuple[float, float]

    def deviation(self, scale: jax.Array) -> jax.Array:
        """sigma(s) from the human policy's scale output, of the same shape."""
        return jnp.sqrt(scale) if self.variance else scale

    def bound(self, kappa: float, std: jax.Array) -> jax.Array:
        """Eq. 3: kappa * spread(sigma(s)) + slack, (..., D) -> (...,)."""
        return kappa * self.spread(std) + self.slack


def divergence(difference: jax.Array, std: jax.Array) -> jax.Array:
    """1/2 sum_j (x_j / sigma_j)^2: of two Gaussians that share sigma, in nats."""
    return 0.5 * jnp.sum((difference / jnp.maximum(std, LEAST_DEVIATION)) ** 2, axis=-1)


CONSTRAINTS: dict[Kind, Constraint] = {
    # Ours: kappa nats per dimension in every state; sigma is in the distance already.
    "kl": Constraint(
        distance=divergence,
        spread=lambda std: jnp.full(std.shape[:-1], std.shape[-1], std.dtype),
        slack=0.0,
        variance=True,
        scale_bounds=(1e-4, 2.0),
    ),
    # The published code: the norm, and a summed variance that it calls a deviation.
    "released": Constraint(
        distance=lambda difference, std: safe_norm(difference),
        spread=lambda std: jnp.sum(std * std, axis=-1),
        slack=0.2,
        variance=True,
        scale_bounds=(1e-5, 2.0),
    ),
    # The paper's text: the squared norm and the mean deviation.
    "paper": Constraint(
        distance=lambda difference, std: jnp.sum(difference**2, axis=-1),
        spread=lambda std: jnp.mean(std, axis=-1),
        slack=0.1,
        variance=False,
        scale_bounds=(1e-3, 1.0),
    ),
}
