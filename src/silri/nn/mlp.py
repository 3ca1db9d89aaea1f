"""The trunk that every network of every agent shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from silri.core.settings import Field, PositiveInt, settings

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "silu": jax.nn.silu,
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
}


@settings("agent.trunk")
class Trunk:
    """Hidden layers of one network."""

    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (256, 256)  # widths
    activation: Literal["silu", "tanh", "relu"] = "silu"  # after each layer's norm
    layer_norm: bool = True  # Linear -> LayerNorm -> activation, or without the norm


class MLP(nn.Module):
    """(..., F) -> (..., hidden[-1]): Linear -> LayerNorm -> activation per layer.

    Attributes:
        trunk: widths and activation.
        activate_final: False leaves the last layer after its LayerNorm (SiLRI's multiplier).
    """

    trunk: Trunk
    activate_final: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        activation = ACTIVATIONS[self.trunk.activation]
        for index, width in enumerate(self.trunk.hidden):
            x = nn.Dense(width, kernel_init=nn.initializers.xavier_uniform())(x)
            if self.trunk.layer_norm:
                x = nn.LayerNorm()(x)
            if self.activate_final or index + 1 < len(self.trunk.hidden):
                x = activation(x)
        return x


def uniform_init(limit: float) -> Callable[..., jax.Array]:
    """Weights and biases from U(-limit, limit)."""

    def init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -limit, limit)

    return init
