from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from silri.nn.constraint import CONSTRAINTS

DEVIATION = jnp.asarray([[0.1, 0.5, 0.01]])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("released", 0.5), ("paper", 0.25), ("kl", 0.5 * (3.0**2 + 0.8**2))],
)
def test_distances_by_hand(kind, expected):
    """The third dimension does not differ; its deviation is below the least one, 0.1."""
    difference = jnp.asarray([[0.3, 0.4, 0.0]])
    got = CONSTRAINTS[kind].distance(difference, DEVIATION)
    assert got.shape == (1,)
    assert float(got[0]) == pytest.approx(expected, rel=1e-5)


def test_a_deviation_below_the_least_one_does_not_make_a_person_surer():
    difference = jnp.asarray([[0.0, 0.0, 0.2]])
    assert float(CONSTRAINTS["kl"].distance(difference, DEVIATION)[0]) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("kind", "kappa", "expected"),
    [
        ("kl", 0.1, 0.3),
        ("released", 2.0, 2.0 * (0.1**2 + 0.5**2 + 0.01**2) + 0.2),
        ("paper", 6.0, 6.0 * 0.61 / 3 + 0.1),
    ],
)
def test_bounds_by_hand(kind, kappa, expected):
    assert float(CONSTRAINTS[kind].bound(kappa, DEVIATION)[0]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("kind", "expected"), [("kl", 0.3), ("released", 0.3), ("paper", 0.09)])
def test_what_the_scale_output_means(kind, expected):
    np.testing.assert_allclose(
        CONSTRAINTS[kind].deviation(jnp.asarray([0.09])), expected, rtol=1e-5
    )
