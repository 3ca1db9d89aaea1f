from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from silri.nn.augment import at_rest, seen_from_first, shift

POINTS = (("environment_state", ((1, 2),)), ("state", ((0, 1), (3, 4))))
SIZES = {"state": 6, "environment_state": 3}
PLACES = (("state", ((0, 1, 2), (5, 4, 3))), ("environment_state", ((2, 1, 0),)))


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


def test_z_is_not_moved():
    before = {"state": jnp.zeros((4, 6)), "environment_state": jnp.zeros((4, 3))}
    after = shift(before, PLACES, jnp.ones((4, 2)))
    np.testing.assert_array_equal(after["state"], [[1, 1, 0, 0, 1, 1]] * 4)
    np.testing.assert_array_equal(after["environment_state"], [[0, 1, 1]] * 4)


def test_an_offset_of_three_moves_z_as_well():
    before = {"state": jnp.zeros((4, 6)), "environment_state": jnp.zeros((4, 3))}
    after = shift(before, PLACES[1:], jnp.asarray([[1.0, 2.0, 3.0]] * 4))
    np.testing.assert_array_equal(after["environment_state"], [[3, 2, 1]] * 4)
    np.testing.assert_array_equal(after["state"], before["state"])


@pytest.mark.parametrize(("travel", "rest"), [(0.0, True), (0.0019, True), (0.0021, False)])
@pytest.mark.parametrize("index", [3, 4, 5])
@pytest.mark.parametrize("sign", [-1, 1])
def test_what_moves_on_any_axis_is_not_at_rest(travel, rest, index, sign):
    objects = (("state", ((5, 4, 3),)),)
    before = {"state": jnp.ones((2, 6)), "environment_state": jnp.ones((2, 3))}
    after = {
        "state": before["state"].at[:, :3].add(1.0).at[0, index].add(sign * travel),
        "environment_state": before["environment_state"] + 1.0,
    }
    np.testing.assert_array_equal(at_rest(before, after, objects, 0.002), [rest, True])


def test_every_other_position_is_seen_from_the_first_whatever_key_it_is_in():
    state = jnp.asarray([1.0, 2.0, 3.0, 30.0, 20.0, 10.0])
    scene = jnp.asarray([0.5, 0.25, 0.125])
    seen = seen_from_first({"state": state, "environment_state": scene}, PLACES)
    np.testing.assert_allclose(seen, [9.0, 18.0, 27.0, -0.875, -1.75, -2.5])
    planar = seen_from_first({"state": state, "environment_state": scene}, POINTS)
    np.testing.assert_allclose(planar, [0.75, 1.875, 29.75, 19.875])


def test_seen_from_the_first_a_shift_changes_nothing():
    before = {key: jax.random.normal(jax.random.key(1), (2, 8, n)) for key, n in SIZES.items()}
    after = shift(before, PLACES, jax.random.normal(jax.random.key(0), (2, 8, 2)))
    seen = seen_from_first(after, PLACES)
    assert seen.shape == (2, 8, 6)
    np.testing.assert_allclose(seen, seen_from_first(before, PLACES), atol=1e-5)


def test_one_position_alone_is_seen_from_nowhere():
    lonely = (("state", ((0, 1),)),)
    assert seen_from_first({"state": jnp.ones((3, 5))}, lonely).shape == (3, 0)
