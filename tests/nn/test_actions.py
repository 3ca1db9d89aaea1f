from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from silri.core.specs import ActionSpec
from silri.nn.actions import (
    continuous_part,
    gripper_classes,
    join,
    joint_class,
    split_joint_class,
)

THREE = (-1.0, 0.0, 1.0)


@st.composite
def specs(draw):
    size = draw(st.integers(1, 8))
    gripper = draw(st.sets(st.integers(0, size - 1), max_size=min(size, 3)))
    values = draw(st.sampled_from([(-1.0, 1.0), THREE, (0.0, 1.0)]))
    return ActionSpec(size, tuple(sorted(gripper)), values)


@settings(max_examples=20)  # every new shape is compiled
@given(spec=specs(), seed=st.integers(0, 999), lead=st.sampled_from([(), (3,), (2, 3)]))
def test_join_puts_back_what_was_taken_apart(spec, seed, lead):
    rng = np.random.default_rng(seed)
    action = spec.snap(rng.uniform(-1, 1, (*lead, spec.size)))
    continuous = continuous_part(spec, jnp.asarray(action))
    assert continuous.shape == (*lead, len(spec.continuous))
    classes = gripper_classes(spec, jnp.asarray(action)) if spec.gripper else None
    joined = join(spec, continuous, classes)
    np.testing.assert_array_equal(joined, action)
    assert joined.dtype == jnp.float32


def test_grippers_take_the_nearest_class():
    spec = ActionSpec(3, gripper=(1,), gripper_values=THREE)
    action = jnp.asarray([[0.3, -0.8, 0.0], [0.3, 0.4, 0.0], [0.3, 0.7, 0.0]])
    classes = gripper_classes(spec, action)
    np.testing.assert_array_equal(classes, [[0], [1], [2]])
    assert classes.dtype == jnp.int32
    np.testing.assert_array_equal(
        join(spec, continuous_part(spec, action), classes), spec.snap(np.asarray(action))
    )


@pytest.mark.parametrize("values", [(-1.0, 1.0), THREE])
@pytest.mark.parametrize("gripper", [(3,), (3, 7), (0, 3, 7)])
def test_joint_classes_number_every_combination_once(values, gripper):
    spec = ActionSpec(8, gripper, values)
    count = len(values) ** len(gripper)
    split = split_joint_class(spec, jnp.arange(count))
    assert split.shape == (count, len(gripper))
    assert len({tuple(row) for row in np.asarray(split).tolist()}) == count
    assert np.asarray(split).min() == 0
    assert np.asarray(split).max() == len(values) - 1
    np.testing.assert_array_equal(joint_class(spec, split), np.arange(count))
    # leading axes of a batch
    np.testing.assert_array_equal(
        split_joint_class(spec, jnp.zeros((2, 5), jnp.int32)), np.zeros((2, 5, len(gripper)))
    )
