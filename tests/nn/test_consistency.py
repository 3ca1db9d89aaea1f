"""The consistency head: its noise grid, its boundary, its parametrisation by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from silri.nn.consistency import (
    K_MAX,
    K_MIN,
    LEVELS,
    ConsistencyPolicy,
    TimeEmbedding,
    draw_levels,
    noise_levels,
    scalings,
    weight,
)
from silri.nn.mlp import MLP, Trunk
from silri.nn.observer import Observer

TRUNK = Trunk(hidden=(8,), activation="tanh")
HEAD = ConsistencyPolicy(Observer(), TRUNK, 3)
RNG = np.random.default_rng(0)
SEEN = {"vector": jnp.asarray(RNG.standard_normal((5, 4)), jnp.float32)}
NOISY = jnp.asarray(RNG.uniform(-3, 3, (5, 3)), jnp.float32)


@pytest.fixture(scope="module")
def params():
    return HEAD.init(jax.random.key(1), SEEN, NOISY, jnp.ones(5))["params"]


def head(params, noisy, level):
    return HEAD.apply({"params": params}, SEEN, noisy, level)


def test_without_noise_an_action_is_left_as_it_is(params):
    out = head(params, NOISY, jnp.full(5, K_MIN))
    np.testing.assert_allclose(out, NOISY, rtol=1e-6)
    c_skip, c_out, _ = scalings(jnp.asarray(K_MIN))
    assert (float(c_skip), float(c_out)) == (1.0, 0.0)


def test_the_noise_grid_falls_from_the_greatest_level_to_the_least():
    levels = np.asarray(noise_levels())
    assert levels.shape == (LEVELS,)
    assert (np.diff(levels) < 0).all()
    np.testing.assert_allclose(levels[[0, -1]], [K_MAX, K_MIN], rtol=1e-5)
    # A straight line in k^(1/7): (80^(1/7) + 20/39 (0.002^(1/7) - 80^(1/7)))^7.
    assert levels[20] == pytest.approx(2.24044, rel=1e-4)
    drawn = np.asarray(draw_levels(jax.random.key(0), (2000,)))
    assert drawn.min() == levels[-2]
    assert drawn.max() == levels[0]


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        # sigma_data = 0.5: c_skip = 0.25 / ((k - 0.002)^2 + 0.25), c_out = (k - 0.002) 0.5 / r and
        # c_in = 1 / r with r = sqrt(k^2 + 0.25).
        (1.0, (0.200641, 0.446320, 0.894427)),
        (80.0, (3.906293e-5, 0.499978, 0.0124998)),
    ],
)
def test_scalings_by_hand(level, expected):
    np.testing.assert_allclose(scalings(jnp.asarray(level)), expected, rtol=2e-4)
    assert float(weight(jnp.asarray(level))) == pytest.approx(level**-2 + 4.0)


def test_the_head_is_its_formula(params):
    level = jnp.asarray([0.1, 0.5, 1.0, 10.0, 80.0])
    time = TimeEmbedding(TRUNK).apply({"params": params["TimeEmbedding_0"]}, level)
    c_skip, c_out, c_in = (np.asarray(x)[:, None] for x in scalings(level))
    inputs = jnp.concatenate([c_in * NOISY, time, SEEN["vector"]], axis=-1)
    hidden = MLP(TRUNK).apply({"params": params["MLP_0"]}, inputs)
    dense = params["Dense_0"]
    expected = c_skip * NOISY + c_out * (hidden @ dense["kernel"] + dense["bias"][None])
    np.testing.assert_allclose(head(params, NOISY, level), expected, rtol=1e-5, atol=1e-6)


def test_the_time_embedding_is_sines_and_cosines_of_the_level():
    module = TimeEmbedding(TRUNK)
    level = jnp.asarray([0.5])
    params = module.init(jax.random.key(0), level)["params"]
    angles = 250.0 * np.log(0.5) * 10_000.0 ** (-np.arange(8) / 7)
    time = np.concatenate([np.sin(angles), np.cos(angles)])
    first, second = params["Dense_0"], params["Dense_1"]
    hidden = np.tanh(time @ first["kernel"] + first["bias"])
    expected = hidden @ second["kernel"] + second["bias"]
    np.testing.assert_allclose(module.apply({"params": params}, level)[0], expected, atol=1e-4)


def test_further_axes_are_draws_for_each_observation(params):
    level = jnp.asarray([[0.1] * 5, [80.0] * 5])
    noisy = jnp.stack([NOISY, -NOISY])
    out = head(params, noisy, level)
    assert out.shape == (2, 5, 3)
    for draw in (0, 1):
        np.testing.assert_allclose(out[draw], head(params, noisy[draw], level[draw]), rtol=1e-5)
