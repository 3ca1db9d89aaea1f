from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from silri.nn.augment import shift

POINTS = (("environment_state", ((1, 2),)), ("state", ((0, 1), (3, 4))))


def observation(*batch):
    return {
        "state": jnp.arange(np.prod(batch) * 5, dtype=jnp.float32).reshape(*batch, 5),
        "environment_state": jnp.ones((*batch, 3), jnp.float32),
        "force": jnp.ones((*batch, 2), jnp.float32),
    }


def test_every_position_of_a_row_moves_by_that_rows_offset():
    before = observation(2, 3)
    offset = jax.random.normal(jax.random.key(0), (2, 3, 2))
    after = shift(before, POINTS, offset)
    for key, pairs in POINTS:
        for x, y in pairs:
            moved = after[key][..., [x, y]] - before[key][..., [x, y]]
            np.testing.assert_allclose(moved, offset, rtol=1e-5, atol=1e-6)


def test_the_rest_stays_where_it_is():
    before = observation(4)
    after = shift(before, POINTS, jnp.ones((4, 2)))
    np.testing.assert_array_equal(after["state"][:, 2], before["state"][:, 2])
    np.testing.assert_array_equal(after["environment_state"][:, 0], 1.0)
    np.testing.assert_array_equal(after["force"], 1.0)
    np.testing.assert_array_equal(before["environment_state"], 1.0)
