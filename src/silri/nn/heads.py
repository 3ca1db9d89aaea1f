"""Policies, critics and the multiplier: eyes, a trunk and an output layer each.

Every module takes a prepared observation (:mod:`silri.nn.observer`), a dict whose leading axes
are written (...).
"""

from __future__ import annotations

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from silri.nn.distributions import soft_clip
from silri.nn.mlp import MLP, Trunk, uniform_init
from silri.nn.observer import Observer

Observation = Mapping[str, jax.Array]
_POLICY_INIT = uniform_init(0.05)


class MeanPolicy(nn.Module):
    """Deterministic policy: observation -> (..., D), tanh mean."""

    observer: Observer
    trunk: Trunk
    size: int

    @nn.compact
    def __call__(self, observation: Observation) -> jax.Array:
        hidden = MLP(self.trunk)(self.observer(observation))
        return jnp.tanh(
            nn.Dense(self.size, kernel_init=_POLICY_INIT, bias_init=_POLICY_INIT)(hidden)
        )


class GaussianPolicy(nn.Module):
    """Observation -> mean and scale (..., D) each.

    Attributes:
        observer, trunk, size: eyes, hidden layers, D.
        squash_mean: tanh on the mean (an un-squashed Gaussian around it), or a raw mean for a
            distribution that is squashed later.
        scale_bounds: of exp(linear), kept softly: a hard bound has no gradient beyond it.
            Whether it is a deviation or a variance is the caller's word.
    """

    observer: Observer
    trunk: Trunk
    size: int
    squash_mean: bool = True
    scale_bounds: tuple[float, float] = (1e-3, 2.0)

    @nn.compact
    def __call__(self, observation: Observation) -> tuple[jax.Array, jax.Array]:
        hidden = MLP(self.trunk)(self.observer(observation))
        mean = nn.Dense(self.size, kernel_init=_POLICY_INIT, bias_init=_POLICY_INIT)(hidden)
        log_scale = nn.Dense(self.size, kernel_init=_POLICY_INIT, bias_init=_POLICY_INIT)(hidden)
        low, high = np.log(self.scale_bounds)
        scale = jnp.exp(soft_clip(log_scale, float(low), float(high)))
        return (jnp.tanh(mean) if self.squash_mean else mean), scale


class GripperHead(nn.Module):
    """Logits of each gripper's classes, one trunk for all: observation -> (..., G, C)."""

    observer: Observer
    trunk: Trunk
    grippers: int
    classes: int

    @nn.compact
    def __call__(self, observation: Observation) -> jax.Array:
        logits = nn.Dense(self.grippers * self.classes)(MLP(self.trunk)(self.observer(observation)))
        return logits.reshape((*logits.shape[:-1], self.grippers, self.classes))


class GraspCritic(nn.Module):
    """Q of every joint gripper command: observation -> (..., C ** G)."""

    observer: Observer
    trunk: Trunk
    commands: int

    @nn.compact
    def __call__(self, observation: Observation) -> jax.Array:
        return nn.Dense(self.commands)(MLP(self.trunk)(self.observer(observation)))


class _Critic(nn.Module):
    """One member: features (..., F), action (..., D) -> (...,)."""

    trunk: Trunk
    encoder: tuple[int, ...]

    @nn.compact
    def __call__(self, features: jax.Array, action: jax.Array) -> jax.Array:
        if self.encoder:
            features = MLP(_encoder_trunk(self.trunk, self.encoder))(features)
        hidden = MLP(self.trunk)(jnp.concatenate([features, action], axis=-1))
        q = nn.Dense(1, kernel_init=nn.initializers.orthogonal(1.0))(hidden)
        return jnp.squeeze(q, axis=-1)


class EnsembleCritic(nn.Module):
    """E critics with common eyes: observation, (..., D) -> (E, ...).

    Their last layers are independent, too: the published code shares one. Further leading axes of
    the action are candidates for each observation, which is looked at once.

    Attributes:
        observer, trunk, members: eyes, hidden layers, E.
        encoder: widths of a vector encoder in front of the action; none for raw features.
        state_ensemble: each member has such an encoder of its own instead of sharing one.
    """

    observer: Observer
    trunk: Trunk
    members: int = 2
    encoder: tuple[int, ...] = ()
    state_ensemble: bool = False

    @nn.compact
    def __call__(self, observation: Observation, action: jax.Array) -> jax.Array:
        features = self.observer(observation)
        own_encoder = self.encoder if self.state_ensemble else ()
        if self.encoder and not self.state_ensemble:
            features = MLP(_encoder_trunk(self.trunk, self.encoder))(features)
        features = jnp.broadcast_to(features, (*action.shape[:-1], features.shape[-1]))
        ensemble = nn.vmap(
            _Critic,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=None,
            out_axes=0,
            axis_size=self.members,
        )
        return ensemble(self.trunk, own_encoder)(features, action)


class Multiplier(nn.Module):
    """lambda(s) = softplus(net(s)) >= 0: observation -> (...,).

    The output layer starts at zero weights, so that lambda_0(s) = ``initial`` in every state (the
    published code loses its own initialisation).

    Attributes:
        observer, trunk, initial: eyes, hidden layers, lambda_0.
    """

    observer: Observer
    trunk: Trunk
    initial: float = float(np.log(2.0))

    @nn.compact
    def __call__(self, observation: Observation) -> jax.Array:
        return jax.nn.softplus(self.raw(self.observer(observation)))

    def raw(self, features: jax.Array) -> jax.Array:
        """Before softplus: (..., F) -> (...,)."""
        hidden = MLP(self.trunk, activate_final=False)(features)
        bias = float(np.log(np.expm1(self.initial)))
        raw = nn.Dense(
            1, kernel_init=nn.initializers.zeros, bias_init=nn.initializers.constant(bias)
        )(hidden)
        return jnp.squeeze(raw, axis=-1)


def _encoder_trunk(trunk: Trunk, widths: tuple[int, ...]) -> Trunk:
    return Trunk(hidden=widths, activation=trunk.activation, layer_norm=trunk.layer_norm)
