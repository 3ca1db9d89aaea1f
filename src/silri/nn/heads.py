"""Policies, critics and the multiplier: a trunk with an output layer each."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from silri.nn.distributions import soft_clip
from silri.nn.mlp import MLP, Trunk, uniform_init

_POLICY_INIT = uniform_init(0.05)
GROUP_RATE = 100.0  # of a coarse multiplier, relative to the network's


class MeanPolicy(nn.Module):
    """Deterministic policy: (..., F) -> (..., D), tanh mean."""

    trunk: Trunk
    size: int

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        hidden = MLP(self.trunk)(features)
        return jnp.tanh(
            nn.Dense(self.size, kernel_init=_POLICY_INIT, bias_init=_POLICY_INIT)(hidden)
        )


class GaussianPolicy(nn.Module):
    """(..., F) -> mean and scale (..., D) each.

    Attributes:
        squash_mean: tanh on the mean (an un-squashed Gaussian around it), or a raw mean for a
            distribution that is squashed later.
        scale_bounds: of exp(linear), kept softly (trap T2). Whether it is a deviation or a
            variance is the caller's word.
    """

    trunk: Trunk
    size: int
    squash_mean: bool = True
    scale_bounds: tuple[float, float] = (1e-3, 2.0)

    @nn.compact
    def __call__(self, features: jax.Array) -> tuple[jax.Array, jax.Array]:
        hidden = MLP(self.trunk)(features)
        mean = nn.Dense(self.size, kernel_init=_POLICY_INIT, bias_init=_POLICY_INIT)(hidden)
        log_scale = nn.Dense(self.size, kernel_init=_POLICY_INIT, bias_init=_POLICY_INIT)(hidden)
        low, high = np.log(self.scale_bounds)
        scale = jnp.exp(soft_clip(log_scale, float(low), float(high)))
        return (jnp.tanh(mean) if self.squash_mean else mean), scale


class EnsembleGaussian(nn.Module):
    """K independent Gaussian policies with tanh means: (..., F) -> mean, scale (K, ..., D)."""

    trunk: Trunk
    size: int
    members: int = 1
    scale_bounds: tuple[float, float] = (1e-3, 2.0)

    @nn.compact
    def __call__(self, features: jax.Array) -> tuple[jax.Array, jax.Array]:
        ensemble = nn.vmap(
            GaussianPolicy,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=None,
            out_axes=0,
            axis_size=self.members,
        )
        members: tuple[jax.Array, jax.Array] = ensemble(
            self.trunk, self.size, True, self.scale_bounds
        )(features)
        return members


def human_policy(
    trunk: Trunk, size: int, members: int, scale_bounds: tuple[float, float]
) -> nn.Module:
    """One Gaussian policy, or an ensemble; one has no axis, which would cost as much as two."""
    if members == 1:
        return GaussianPolicy(trunk, size, scale_bounds=scale_bounds)
    return EnsembleGaussian(trunk, size, members, scale_bounds)


class GripperHead(nn.Module):
    """Logits of each gripper's classes, one trunk for all: (..., F) -> (..., G, C)."""

    trunk: Trunk
    grippers: int
    classes: int

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        logits = nn.Dense(self.grippers * self.classes)(MLP(self.trunk)(features))
        return logits.reshape((*logits.shape[:-1], self.grippers, self.classes))


class GraspCritic(nn.Module):
    """Q of every joint gripper command: (..., F) -> (..., C ** G)."""

    trunk: Trunk
    commands: int

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        return nn.Dense(self.commands)(MLP(self.trunk)(features))


class _Critic(nn.Module):
    """One member: (..., F), (..., D) -> (...,)."""

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
    """E independent critics, last layers included (trap T13): -> (E, ...).

    Attributes:
        encoder: widths of an observation encoder in front of the action; none for raw features.
        state_ensemble: each member has an encoder of its own instead of sharing one.
    """

    trunk: Trunk
    members: int = 2
    encoder: tuple[int, ...] = ()
    state_ensemble: bool = False

    @nn.compact
    def __call__(self, features: jax.Array, action: jax.Array) -> jax.Array:
        own_encoder = self.encoder if self.state_ensemble else ()
        if self.encoder and not self.state_ensemble:
            features = MLP(_encoder_trunk(self.trunk, self.encoder))(features)
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
    """lambda(s) = softplus(net(s)) >= 0: (..., F) -> (...,).

    The output layer starts at zero weights, so that lambda_0(s) = ``initial`` in every state
    (trap T3: the published code drops its own initialisation).

    Attributes:
        trunk, initial: of the network.
        groups: 0, or a hierarchy: coarse values of so many soft groups of states, which move
            :data:`GROUP_RATE` times as fast as the network, and the network as fine correction.
    """

    trunk: Trunk
    initial: float = float(np.log(2.0))
    groups: int = 0

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        hidden = MLP(self.trunk, activate_final=False)(features)
        bias = float(np.log(np.expm1(self.initial)))
        raw = nn.Dense(
            1, kernel_init=nn.initializers.zeros, bias_init=nn.initializers.constant(bias)
        )(hidden)
        raw = jnp.squeeze(raw, axis=-1)
        if self.groups:
            # Adam's step does not depend on the gradient's size, so a factor on the parameter
            # is a factor on its rate.
            coarse = GROUP_RATE * self.param("coarse", nn.initializers.zeros, (self.groups,))
            size = (features.shape[-1], self.groups)
            cells = jax.lax.stop_gradient(self.param("cells", nn.initializers.normal(1.0), size))
            raw = raw + jax.nn.softmax(features @ cells, axis=-1) @ coarse
        return jax.nn.softplus(raw)


def _encoder_trunk(trunk: Trunk, widths: tuple[int, ...]) -> Trunk:
    return Trunk(hidden=widths, activation=trunk.activation, layer_norm=trunk.layer_norm)
