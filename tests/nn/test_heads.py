from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from silri.core.errors import ConfigError
from silri.nn.encoders.cnn import spatial_softmax
from silri.nn.heads import (
    EnsembleCritic,
    GaussianPolicy,
    GraspCritic,
    GripperHead,
    MeanPolicy,
    Multiplier,
)
from silri.nn.mlp import MLP, Trunk
from silri.nn.observer import Observer

TRUNK = Trunk(hidden=(8, 8))
EYES = Observer()
FEATURES = jnp.asarray(np.random.default_rng(0).standard_normal((6, 5)), jnp.float32)
SEEN = {"vector": FEATURES}
ACTIONS = jnp.asarray(np.random.default_rng(1).uniform(-1, 1, (6, 2)), jnp.float32)


@functools.partial(jax.jit, static_argnums=0)
def init(module, *inputs):
    return module.init(jax.random.key(0), *inputs)["params"]


@functools.partial(jax.jit, static_argnums=0)
def apply(module, params, *inputs):
    return module.apply({"params": params}, *inputs)


def bump_second_member(name, path, leaf):
    """In numpy: JAX would compile one addition per shape."""
    leaf = np.array(leaf)
    if jax.tree_util.keystr(path, simple=True, separator="/") == name:
        leaf[1] += np.random.default_rng(0).uniform(0.1, 0.5, leaf[1].shape)
    return leaf


def leaves(params):
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }


@pytest.mark.parametrize("initial", [0.01, np.log(2.0), 2.0])
def test_multiplier_starts_equal_in_every_state(initial):
    module = Multiplier(EYES, TRUNK, float(initial))
    values = apply(module, init(module, SEEN), SEEN)
    assert values.shape == (6,)
    np.testing.assert_allclose(values, initial, rtol=1e-5)


def test_multiplier_is_never_negative():
    module = Multiplier(EYES, TRUNK)
    params = jax.tree.map(lambda x: x - 5.0, init(module, SEEN))
    assert (apply(module, params, SEEN) >= 0).all()


def test_last_hidden_layer_of_the_multiplier_has_no_activation():
    """The published network ends in a norm: with an activation, lambda could hardly fall."""
    module = Multiplier(EYES, TRUNK)
    params = jax.tree.map(lambda x: x + 0.3, init(module, SEEN))
    hidden = apply(MLP(TRUNK, activate_final=False), params["MLP_0"], FEATURES)
    assert hidden.min() < -0.3  # lower than silu ever is
    raw = hidden @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"].reshape(1, 1)
    np.testing.assert_allclose(apply(module, params, SEEN), jax.nn.softplus(raw)[:, 0], rtol=1e-4)


@pytest.mark.parametrize("bounds", [(1e-5, 2.0), (0.05, 0.1)])
def test_gaussian_policy_keeps_its_bounds(bounds):
    module = GaussianPolicy(EYES, TRUNK, 2, scale_bounds=bounds)
    params = init(module, SEEN)
    for factor in (1.0, 300.0, -300.0):
        extreme = jax.tree.map(lambda x, factor=factor: x * factor, params)
        mean, scale = apply(module, extreme, SEEN)
        assert mean.shape == scale.shape == (6, 2)
        assert np.abs(mean).max() <= 1.0
        assert scale.min() >= bounds[0] * 0.999
        assert scale.max() <= bounds[1] * 1.001


def test_raw_mean_is_not_squashed():
    module = GaussianPolicy(EYES, TRUNK, 2, squash_mean=False)
    params = jax.tree.map(lambda x: x * 100, init(module, SEEN))
    assert np.abs(apply(module, params, SEEN)[0]).max() > 1.0


def test_mean_policy_starts_near_zero_inside_its_range():
    module = MeanPolicy(EYES, TRUNK, 2)
    mean = apply(module, init(module, SEEN), SEEN)
    assert mean.shape == (6, 2)
    assert 0 < np.abs(mean).max() < 0.5


def test_shapes_of_gripper_heads():
    for module, shape in (
        (GripperHead(EYES, TRUNK, grippers=2, classes=3), (6, 2, 3)),
        (GraspCritic(EYES, TRUNK, commands=9), (6, 9)),
    ):
        assert apply(module, init(module, SEEN), SEEN).shape == shape


@pytest.mark.parametrize(
    ("encoder", "own"), [((), False), ((7,), False), ((7,), True)], ids=["none", "shared", "own"]
)
def test_members_of_the_ensemble_are_independent(encoder, own):
    module = EnsembleCritic(EYES, TRUNK, 3, encoder, state_ensemble=own)
    params = init(module, SEEN, ACTIONS)
    q = np.asarray(apply(module, params, SEEN, ACTIONS))
    assert q.shape == (3, 6)
    assert (q[0] != q[1]).all()
    member_leaves = shared_leaves = 0
    for name, leaf in leaves(params).items():
        if not name.startswith("Vmap"):
            shared_leaves += 1
            continue
        member_leaves += 1
        assert leaf.shape[0] == 3, name  # the last layer too
        bumped = jax.tree_util.tree_map_with_path(
            functools.partial(bump_second_member, name), params
        )
        changed = np.asarray(apply(module, bumped, SEEN, ACTIONS)) != q
        assert changed[1].any(), name
        assert not changed[0].any(), name
        assert not changed[2].any(), name
    assert (shared_leaves > 0) == (bool(encoder) and not own)
    per_layer = 4  # kernel and bias, scale and bias of the norm
    assert member_leaves == per_layer * (2 + (len(encoder) if own else 0)) + 2


def test_ensemble_members_start_differently():
    params = init(EnsembleCritic(EYES, TRUNK, 3, (7,), state_ensemble=True), SEEN, ACTIONS)
    for name, leaf in leaves(params).items():
        if name.endswith("kernel"):
            assert (np.asarray(leaf[0]) != np.asarray(leaf[1])).mean() > 0.9, name


def test_a_shared_encoder_does_not_see_the_action():
    """Otherwise it would be no observation encoder."""
    module = EnsembleCritic(EYES, TRUNK, 3, (7,))
    params = init(module, SEEN, ACTIONS)
    encoder = params["MLP_0"]["Dense_0"]["kernel"]
    assert encoder.shape == (5, 7)


@pytest.mark.parametrize("hidden", [(), (16, 0)])
def test_a_trunk_needs_widths(hidden):
    with pytest.raises(ConfigError, match=r"agent\.trunk\.hidden"):
        Trunk(hidden=hidden)


def test_a_network_looks_through_every_camera_with_an_encoder_that_is_its_own():
    frames = {
        name: np.random.default_rng(seed).integers(0, 256, (6, 16, 12, 3), dtype=np.uint8)
        for seed, name in enumerate(("images.front", "images.hand"))
    }
    seen = SEEN | {key: jnp.asarray(value) for key, value in frames.items()}
    module = MeanPolicy(Observer(tuple(frames)), TRUNK, 2)
    params = init(module, seen)
    assert set(params["observer"]) == {"encoder_images_front", "encoder_images_hand"}
    mean = apply(module, params, seen)
    for key in frames:
        dark = seen | {key: jnp.zeros_like(seen[key])}
        assert (apply(module, params, dark) != mean).any(), key


def test_where_something_is_survives_the_encoder():
    """One bright pixel: the spatial softmax of its map is near its row and column."""
    maps = jnp.full((1, 5, 9, 1), -50.0).at[0, 4, 2, 0].set(50.0)
    np.testing.assert_allclose(spatial_softmax(maps), [[1.0, -0.5]], atol=1e-5)
