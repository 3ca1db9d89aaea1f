from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from silri.nn.distributions import normal_log_prob, safe_norm, soft_clip, squashed_sample


def arrays(*rows):
    return [jnp.asarray(row, jnp.float32) for row in rows]


@pytest.mark.parametrize("sigma", [0.05, 1.0, 3.0])
def test_normal_log_prob_is_the_closed_form(sigma):
    value, mean = np.random.default_rng(0).uniform(-1, 1, (2, 5, 3)).astype(np.float32)
    std = np.full_like(mean, sigma)
    expected = norm.logpdf(value.astype(float), mean, sigma).sum(-1)
    np.testing.assert_allclose(normal_log_prob(*arrays(value, mean, std)), expected, rtol=1e-4)
    # At the mean: -log(sigma sqrt(2 pi)) per dimension. With 0.05 as a variance it would be
    # 1.5 lower in each.
    at_mean = normal_log_prob(*arrays(mean, mean, std))
    np.testing.assert_allclose(at_mean, -3 * np.log(sigma * np.sqrt(2 * np.pi)), rtol=1e-5)


def test_deviations_differ_per_dimension():
    log_prob = normal_log_prob(*arrays([0.1, -0.2], [0.0, 0.3], [0.5, 2.0]))
    expected = norm.logpdf(0.1, 0.0, 0.5) + norm.logpdf(-0.2, 0.3, 2.0)
    assert log_prob == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.5), (0.7, 1.0), (-0.3, 0.1)])
def test_squashed_density_is_one_in_total(mean, std):
    actions, log_prob = squashed_sample(
        jax.random.key(0), jnp.full((20_000, 1), mean), jnp.full((20_000, 1), std)
    )
    order = np.argsort(np.asarray(actions)[:, 0])
    a, p = np.asarray(actions, float)[order, 0], np.exp(np.asarray(log_prob, float))[order]
    assert np.trapezoid(p, a) == pytest.approx(1.0, abs=0.01)
    # And it is the density of these very samples: a share of them lies below any point.
    below = np.trapezoid(p[:10_000], a[:10_000])
    assert below == pytest.approx(0.5, abs=0.01)


def test_squashed_log_prob_is_stable_in_the_tails():
    mean = jnp.asarray([[-40.0], [0.0], [40.0]])

    def total(mean):
        actions, log_prob = squashed_sample(jax.random.key(1), mean, jnp.full((3, 1), 0.5))
        return jnp.sum(log_prob) + jnp.sum(actions)

    value, gradient = jax.value_and_grad(total)(mean)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_squashed_dimensions_add_up():
    key, mean, std = jax.random.key(2), jnp.zeros((4, 3)), jnp.full((4, 3), 0.7)
    actions, log_prob = squashed_sample(key, mean, std)
    u = np.arctanh(np.asarray(actions, float))
    expected = (norm.logpdf(u, 0, 0.7) - np.log1p(-(np.tanh(u) ** 2))).sum(-1)
    np.testing.assert_allclose(log_prob, expected, rtol=1e-3, atol=1e-3)


bounds = st.tuples(st.floats(-12, 0), st.floats(0.1, 12)).map(lambda b: (b[0], b[0] + b[1]))


@settings(max_examples=50)
@given(x=st.floats(-1e4, 1e4), y=st.floats(-1e4, 1e4), bounds=bounds)
def test_soft_clip_is_bounded_and_ascending(x, y, bounds):
    low, high = bounds
    a, b = (float(soft_clip(jnp.float32(v), low, high)) for v in sorted((x, y)))
    slack = 1e-5 * (1 + abs(low) + abs(high))
    assert low - slack <= a <= b + slack
    assert b <= high + slack


def test_soft_clip_is_nearly_the_identity_inside():
    x = jnp.linspace(-6.0, -2.0, 9)
    np.testing.assert_allclose(soft_clip(x, -10.0, 2.0), x, atol=0.03)


@pytest.mark.parametrize("x", [-40.0, -12.0, -9.0, 0.7, 3.0, 40.0])
def test_soft_clip_never_loses_the_gradient(x):
    low, high = np.log(1e-4), np.log(2.0)
    assert jax.grad(lambda v: soft_clip(v, low, high))(jnp.float32(x)) > 0
    # which is what a hard clip does, and why a scale at its floor would stay there
    assert (jax.grad(lambda v: jnp.clip(v, low, high))(jnp.float32(x)) > 0) == (low < x < high)


def test_safe_norm_has_a_gradient_at_zero():
    gradient = jax.grad(safe_norm)(jnp.zeros(3))
    np.testing.assert_array_equal(gradient, 0.0)
    assert safe_norm(jnp.asarray([3.0, 4.0])) == pytest.approx(5.0)
    gradient = jax.grad(safe_norm)(jnp.asarray([3.0, 4.0]))
    np.testing.assert_allclose(gradient, [0.6, 0.8], rtol=1e-6)
    assert safe_norm(jnp.ones((2, 5, 4))).shape == (2, 5)
