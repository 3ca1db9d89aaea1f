from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from silri.nn.train_state import TrainState, adam, polyak

X = jnp.asarray([[1.0, -2.0], [0.5, 3.0]])


def make_state(**keywords):
    return TrainState.create(nn.Dense(1), jax.random.key(0), X, **{"learning_rate": 0.1} | keywords)


def squared(state, target=1.0):
    def loss(params):
        value = jnp.mean((state(X, params=params) - target) ** 2)
        return value, {"loss": value}

    return loss


def bits(tree):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def test_a_step_lowers_the_loss_and_reports_it():
    state = make_state()
    stepped, info = state.apply_loss(squared(state))
    _, after = stepped.apply_loss(squared(stepped))
    assert after["loss"] < info["loss"]
    assert bits(state.params) != bits(stepped.params)


def test_only_handed_in_parameters_have_a_gradient():
    state = make_state()

    def stored(params):
        return jnp.sum(state.replace(params=params)(X))

    def handed_in(params):
        return jnp.sum(state(X, params=params))

    assert all((np.asarray(g) == 0).all() for g in jax.tree.leaves(jax.grad(stored)(state.params)))
    assert all(
        (np.asarray(g) != 0).any() for g in jax.tree.leaves(jax.grad(handed_in)(state.params))
    )


def test_a_skipped_step_moves_nothing_where_a_zero_gradient_would():
    state = make_state()
    moving, _ = state.apply_loss(squared(state))  # now Adam has momentum

    def zero(params):
        return jnp.sum(moving(X, params=params)) * 0.0, {}

    skipped, _ = moving.apply_loss_if(jnp.asarray(False), zero)
    assert bits(skipped) == bits(moving)
    pushed, _ = moving.apply_loss(zero)
    assert bits(pushed.params) != bits(moving.params)  # Adam's momentum moves on


def test_an_active_step_is_an_ordinary_step():
    state = make_state()
    left, _ = state.apply_loss_if(jnp.asarray(True), squared(state))
    right, _ = state.apply_loss(squared(state))
    assert bits(left) == bits(right)


def test_gradients_are_clipped_by_their_global_norm():
    def step_twice(clip, scales):
        state = make_state(clip=clip)
        for scale in scales:
            state, _ = state.apply_loss(
                lambda params, scale=scale, state=state: (
                    scale * jnp.sum(state(X, params=params)),
                    {},
                )
            )
        return state.params

    # Adam forgets the scale of one gradient, but not the ratio of two.
    clipped = step_twice(0.5, (1.0, 1000.0))
    equal = step_twice(0.5, (1.0, 1.0))
    np.testing.assert_allclose(clipped["kernel"], equal["kernel"], rtol=1e-6)
    free = step_twice(None, (1.0, 1000.0))
    assert np.abs(np.asarray(free["kernel"] - equal["kernel"])).max() > 1e-3


def test_equal_optimisers_are_one_object():
    """They are static fields of agents: equal agents must share compiled code."""
    assert adam(3e-4, 40.0) is adam(3e-4, 40.0)
    assert adam(3e-4) is not adam(1e-4)


def test_equal_modules_are_initialised_by_one_compilation():
    from silri.nn import train_state

    make_state()
    before = train_state._initialise._cache_size()
    make_state()
    assert train_state._initialise._cache_size() == before


@pytest.mark.parametrize("tau", [0.0, 0.005, 1.0])
def test_polyak(tau):
    online, target = {"w": jnp.asarray([1.0, 2.0])}, {"w": jnp.asarray([3.0, -2.0])}
    expected = tau * np.array([1.0, 2.0]) + (1 - tau) * np.array([3.0, -2.0])
    np.testing.assert_allclose(polyak(online, target, tau)["w"], expected, rtol=1e-6)
