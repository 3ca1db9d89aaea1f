"""One parameter tree and one optimiser per network; skipping an update is not calling it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct

Params = Any
Info = dict[str, jax.Array]
Loss = tuple[jax.Array, Info]  # the scalar to minimise, and its metrics


@functools.cache
def adam(
    learning_rate: float, clip: float | None = None, decay: float = 0.0
) -> optax.GradientTransformation:
    """Adam, after a global-norm clip if asked; cached, so that equal agents share compiled code.

    ``decay`` is decoupled (AdamW): every step shrinks the weights by learning_rate * decay.
    """
    steps = [optax.adamw(learning_rate, weight_decay=decay) if decay else optax.adam(learning_rate)]
    if clip is not None:
        steps.insert(0, optax.clip_by_global_norm(clip))
    return optax.chain(*steps)


class TrainState(struct.PyTreeNode):
    """A network, its parameters and its optimiser.

    Calling it uses the *stored* parameters without a gradient; hand it ``params=`` to let one
    flow. So where gradients go is visible at the call.
    """

    params: Params
    opt_state: optax.OptState
    module: nn.Module = struct.field(pytree_node=False)
    optimizer: optax.GradientTransformation = struct.field(pytree_node=False)

    @classmethod
    def create(
        cls,
        module: nn.Module,
        key: jax.Array,
        *inputs: Any,
        learning_rate: float,
        clip: float | None = None,
        decay: float = 0.0,
    ) -> TrainState:
        """Initialise ``module`` on ``inputs`` with an Adam of its own."""
        optimizer = adam(learning_rate, clip, decay)
        params = _initialise(module, key, *inputs)
        return cls(
            params=params, opt_state=optimizer.init(params), module=module, optimizer=optimizer
        )

    def __call__(self, *inputs: Any, params: Params | None = None) -> Any:
        if params is None:
            params = jax.lax.stop_gradient(self.params)
        return self.module.apply({"params": params}, *inputs)

    def apply_loss(self, loss: Callable[[Params], Loss]) -> tuple[TrainState, Info]:
        """One optimiser step on ``loss(params) -> (scalar, info)``."""
        grads, info = jax.grad(loss, has_aux=True)(self.params)
        # Optax mixes Python floats, int32 counters and float32 moments on purpose.
        with jax.numpy_dtype_promotion("standard"):
            updates, opt_state = self.optimizer.update(grads, self.opt_state, self.params)
            params = optax.apply_updates(self.params, updates)
        return self.replace(params=params, opt_state=opt_state), info

    def apply_loss_if(
        self, active: jax.Array, loss: Callable[[Params], Loss]
    ) -> tuple[TrainState, Info]:
        """As :meth:`apply_loss`, but parameters *and* moments stay put unless ``active``.

        For losses over a masked selection that may be empty: a zero gradient would
        still move the parameters through Adam's momentum.
        """
        stepped, info = self.apply_loss(loss)
        params, opt_state = jax.tree.map(
            lambda new, old: jnp.where(active, new, old),
            (stepped.params, stepped.opt_state),
            (self.params, self.opt_state),
        )
        return self.replace(params=params, opt_state=opt_state), info


@functools.partial(jax.jit, static_argnums=0)
def _initialise(module: nn.Module, key: jax.Array, *inputs: Any) -> Params:
    # Not jax.jit(module.init): a bound method is new each time, and so would its compilation be.
    return module.init(key, *inputs)["params"]


def averaging(
    rate: float, iterations: jax.Array, tail: float = 0.0, *, fresh: jax.Array | bool = False
) -> jax.Array | float:
    """The Polyak rate of an average in one iteration; 1 if ``rate`` is 1.

    Args:
        rate: of a long run.
        iterations: () int32 done so far.
        tail: the average covers the last 1 / ``tail`` of all iterations once that is more than
            1 / ``rate`` of them, so its window grows with the run; 0: it does not.
        fresh: instead a plain mean until there is enough to average, so that no random first
            weight stays in it, and then the same window for ever.
    """
    if rate == 1.0:
        return 1.0
    done = iterations.astype(jnp.float32) + 1.0
    window = jnp.minimum(rate, tail / done) if tail else jnp.asarray(rate)
    return jnp.where(fresh, jnp.maximum(rate, 1.0 / done), window)


def follow(state: TrainState | None, average: Params | None, rate: jax.Array | float) -> Params:
    """:func:`polyak` for a network that may not be there."""
    return None if state is None else polyak(state.params, average, rate)


def polyak(online: Params, target: Params, tau: jax.Array | float) -> Params:
    """target <- tau online + (1 - tau) target, leaf by leaf."""
    return jax.tree.map(lambda p, t: tau * p + (1.0 - tau) * t, online, target)
