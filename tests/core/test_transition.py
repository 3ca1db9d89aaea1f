"""The bootstrap mask, and batches that a spec makes up."""

import numpy as np
import pytest

from silri.core.specs import ActionSpec, ArraySpec, EnvSpec
from silri.core.transition import Batch, bootstrap_mask, fake_batch


def test_termination_does_not_bootstrap_and_nothing_else_matters():
    mask = bootstrap_mask(np.asarray([False, True]))
    np.testing.assert_array_equal(mask, [1.0, 0.0])
    assert mask.dtype == np.float32
    assert bootstrap_mask(True) == 0.0


@pytest.mark.parametrize("batch_shape", [(1,), (5,), (2, 5)])
def test_a_fake_batch_fits_its_spec(any_spec, batch_shape):
    batch = fake_batch(any_spec, batch_shape)
    for observation in (batch.observation, batch.next_observation):
        assert set(observation) == set(any_spec.observation)
        for key, array in any_spec.observation.items():
            assert observation[key].shape == batch_shape + array.shape
            assert observation[key].dtype == array.dtype
    for action in (batch.action, batch.human_action):
        assert action.shape == (*batch_shape, any_spec.action.size)
        assert action.dtype == np.float32
        np.testing.assert_array_equal(any_spec.action.snap(action), action)
    for name in ("reward", "mask", "is_intervention", "grasp_penalty"):
        column = getattr(batch, name)
        assert column.shape == batch_shape, name
        assert column.dtype == np.float32, name
    assert set(np.unique(batch.mask)) <= {0.0, 1.0}
    assert (batch.grasp_penalty <= 0).all()


def test_a_fake_image_is_uint8():
    spec = EnvSpec("e", {"images.wrist": ArraySpec((8, 8, 3), "uint8")}, ActionSpec(2), 5)
    image = fake_batch(spec, (3,)).observation["images.wrist"]
    assert image.dtype == np.uint8
    assert image.shape == (3, 8, 8, 3)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_share_of_interventions_is_asked_for(spec, share):
    assert fake_batch(spec, (64,), interventions=share).is_intervention.mean() == share


def test_a_fake_batch_is_a_function_of_its_seed(spec):
    first, again, other = (fake_batch(spec, (4,), seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.reward, again.reward)
    assert (first.reward != other.reward).any()


def test_a_batch_is_a_pytree_of_arrays(spec):
    import jax

    batch = fake_batch(spec, (4,))
    leaves = jax.tree.leaves(batch)
    assert len(leaves) == 2 * len(spec.observation) + 6
    declared = batch._replace(columns={"progress": batch.reward})
    assert len(jax.tree.leaves(declared)) == len(leaves) + 1
    assert isinstance(jax.tree.map(lambda leaf: leaf[:2], batch), Batch)
