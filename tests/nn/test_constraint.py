from __future__ import annotations

import jax.numpy as jnp
import pytest

from silri.nn.constraint import distance, spread

DEVIATION = jnp.asarray([[0.1, 0.5, 0.01]])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("l2", 0.5),
        ("sq_l2", 0.25),
        ("kl", 0.5 * (3.0**2 + 0.8**2)),
    ],
)
def test_distances_by_hand(kind, expected):
    """The third dimension does not differ; its deviation is below the least one, 0.1."""
    difference = jnp.asarray([[0.3, 0.4, 0.0]])
    got = distance(kind, difference, DEVIATION, 0.1)
    assert got.shape == (1,)
    assert float(got[0]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("dims", 3.0),
        ("none", 0.0),
        ("sum_var", 0.1**2 + 0.5**2 + 0.01**2),
        ("sum_std", 0.61),
        ("mean_std", 0.61 / 3),
    ],
)
def test_spreads_by_hand(kind, expected):
    assert float(spread(kind, DEVIATION)[0]) == pytest.approx(expected, rel=1e-5)
