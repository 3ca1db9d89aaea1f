"""What holds for every algorithm and preset."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest

from silri.agents.registry import AGENTS, load_agent
from silri.core.errors import ConfigError, UnknownNameError
from silri.core.specs import ArraySpec
from silri.core.transition import fake_batch
from silri.nn.mlp import Trunk
from silri.nn.normalizer import Normalizer

PRESETS = [(name, preset) for name in AGENTS.names() for preset in load_agent(name).presets]


def make(spec, name, preset="default", **settings):
    entry = load_agent(name)
    config = replace(entry.preset(preset).config, trunk=Trunk(hidden=(16, 16)), batch_size=16)
    config = replace(config, **settings)
    return entry.agent.create(config, spec, None, 0)


def without_shifts(agent):
    return agent.replace(config=replace(agent.config, shift=0.0))


def finite(tree):
    return all(bool(np.isfinite(leaf).all()) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("name", AGENTS.names())
def test_rows_of_a_batch_are_moved_as_a_whole_and_by_no_more_than_said(spec, name):
    centimetres = {
        key: (np.zeros(v.shape), np.full(v.shape, 0.01)) for key, v in spec.observation.items()
    }
    agent = make(spec, name).replace(normalizer=Normalizer.create(spec, centimetres))
    batch = fake_batch(spec, (2, 64))
    before, next_before = without_shifts(agent).encode(batch)
    after, next_after = agent.encode(batch)
    moved = 0.01 * np.asarray(after - before)  # metres; environment_state (3), state (4)
    next_before, next_after = 0.01 * next_before, 0.01 * next_after
    np.testing.assert_allclose(moved, next_after - next_before, atol=1e-6)
    np.testing.assert_allclose(moved[..., 1:3], moved[..., 3:5], atol=1e-6)
    np.testing.assert_array_equal(moved[..., [0, 5, 6]], 0.0)
    assert 0.9 * agent.config.shift < np.abs(moved).max() <= agent.config.shift + 1e-6
    still = (moved == 0.0).all(-1)
    assert 0.3 < still.mean() < 0.7  # about half of the rows stay
    assert len(np.unique(moved[..., 1].round(5))) > 0.9 * (~still).sum()  # one offset per row
    later, _ = agent.replace(iterations=agent.iterations + 1).encode(batch)
    assert (np.asarray(later) != np.asarray(after)).any(-1).mean() > 0.5  # others each time


@pytest.mark.parametrize("name", AGENTS.names())
@pytest.mark.parametrize("learn", ["update", "pretrain", "update_guidance"])
def test_all_learning_sees_the_moved_rows(spec, name, learn):
    agent, still = make(spec, name), without_shifts(make(spec, name))
    batch = fake_batch(spec, (agent.config.utd, 16))
    after, _ = getattr(agent, learn)(batch)
    same = all(
        (a == b).all() for a, b in zip(jax.tree.leaves(agent), jax.tree.leaves(after), strict=True)
    )
    other, _ = getattr(still, learn)(batch)
    leaves = zip(jax.tree.leaves(after), jax.tree.leaves(other), strict=True)
    differs = any((a != b).any() for a, b in leaves)
    assert differs != same  # where nothing is learned there is nothing to move


@pytest.mark.parametrize("name", AGENTS.names())
def test_without_points_nothing_is_moved(spec, name):
    blind = replace(spec, points={})
    agent = make(blind, name)
    batch = fake_batch(blind, (2, 8))
    features, _ = agent.encode(batch)
    np.testing.assert_array_equal(features, agent.normalizer.features(batch.observation))


@pytest.mark.parametrize("name", AGENTS.names())
def test_goals_are_moved_on_their_own_while_nothing_but_the_hand_moves(spec, name):
    hand, thing, goal = ((0, 1),), ((0, 1),), ((2, 3),)
    observation = {"state": ArraySpec((4,)), "environment_state": ArraySpec((4,))}
    points = {"state": hand, "environment_state": (*thing, *goal)}
    spec = replace(spec, observation=observation, points=points)
    spec = replace(spec, objects={"environment_state": thing}, goals={"environment_state": goal})
    agent = without_shifts(make(spec, name, relative=0.0))
    agent = agent.replace(config=replace(agent.config, goal_shift=0.1))
    batch = fake_batch(spec, (2, 256))
    still = np.arange(256) < 128
    there = {"state": batch.next_observation["state"]}  # the hand moves, and so may the goal
    there["environment_state"] = np.where(
        still[:, None],
        batch.observation["environment_state"] + np.asarray([0.001, -0.001, 1.0, 1.0], np.float32),
        batch.observation["environment_state"] + np.asarray([0.0, 0.003, 0.0, 0.0], np.float32),
    )
    batch = batch._replace(next_observation=there)
    after, next_after = agent.encode(batch)
    moved = np.asarray(after - agent.normalizer.features(batch.observation))
    next_moved = np.asarray(next_after - agent.normalizer.features(there))
    np.testing.assert_allclose(moved, next_moved, atol=1e-6)
    np.testing.assert_array_equal(moved[..., [0, 1, 4, 5, 6, 7]], 0.0)
    goes_on = np.asarray(batch.mask) > 0
    assert (~goes_on & still).any()
    np.testing.assert_array_equal(moved[~(goes_on & still)], 0.0)
    share = (moved[goes_on & still] != 0.0).all(-1, where=[False, False, True, True] + 4 * [False])
    assert 0.35 < share.mean() < 0.65
    assert 0.09 < np.abs(moved).max() <= 0.1 + 1e-6


@pytest.mark.parametrize("name", AGENTS.names())
def test_positions_from_the_hand_are_features_of_acting_and_learning(spec, name):
    plain, agent = make(spec, name, relative=0.0), make(spec, name, relative=0.05)
    batch = fake_batch(spec, (2, 8))
    there = agent.normalizer.features(batch.observation)
    assert there.shape[-1] == plain.normalizer.features(batch.observation).shape[-1] + 2
    after, _ = agent.encode(batch)
    np.testing.assert_allclose(after[..., -2:], there[..., -2:], atol=1e-4)  # shifts or not
    agent, _ = agent.update(fake_batch(spec, (agent.config.utd, 16)))
    far = {key: np.zeros(v.shape, np.float32) for key, v in spec.observation.items()}
    action, _ = agent.act(far, episode=0, step=0, explore=False)
    assert np.isfinite(action).all()


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_one_update_moves_something_and_stays_finite(spec, name, preset):
    agent = make(spec, name, preset)
    after, info = agent.update(fake_batch(spec, (agent.config.utd, 16)))
    assert int(after.iterations) == 1
    assert finite(after)
    assert finite(info)
    moved = [
        bool((a != b).any())
        for a, b in zip(jax.tree.leaves(agent), jax.tree.leaves(after), strict=True)
    ]
    assert sum(moved) > 5


@pytest.mark.parametrize("name", AGENTS.names())
def test_one_arm_two_or_none_is_a_matter_of_the_spec(any_spec, name):
    agent = make(any_spec, name)
    agent, _ = agent.update(fake_batch(any_spec, (agent.config.utd, 16)))
    observation = {key: np.zeros(v.shape, np.float32) for key, v in any_spec.observation.items()}
    action, _ = agent.act(observation, episode=0, step=0, explore=True)
    np.testing.assert_array_equal(action, any_spec.action.snap(action))
    stacked = {key: np.stack([value] * 3) for key, value in observation.items()}
    assert agent.act_deterministic(stacked).shape == (3, any_spec.action.size)


@pytest.mark.parametrize("name", AGENTS.names())
def test_the_same_seed_gives_the_same_agent_and_nothing_is_compiled_twice(spec, name):
    left, right = make(spec, name), make(spec, name)
    update = type(left).update
    for step in range(3):
        batch = fake_batch(spec, (left.config.utd, 16), step)
        left, _ = left.update(batch)
        if step == 0:
            compiled = update._cache_size()
        right, _ = right.update(batch)
    assert update._cache_size() == compiled
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["bc", "hg_dagger"])
def test_cloning_reaches_every_parameter_and_ignores_the_robot(spec, name):
    agent = make(spec, name)
    after, _ = agent.update(fake_batch(spec, (agent.config.utd, 16), interventions=1.0))
    for network in ("actor", "gripper"):
        before_leaves = jax.tree.leaves(getattr(agent, network).params)
        after_leaves = jax.tree.leaves(getattr(after, network).params)
        for a, b in zip(before_leaves, after_leaves, strict=True):
            assert (a != b).any()
    still, info = after.update(fake_batch(spec, (agent.config.utd, 16), interventions=0.0))
    for a, b in zip(jax.tree.leaves(after.actor), jax.tree.leaves(still.actor), strict=True):
        np.testing.assert_array_equal(a, b)
    assert finite(info)


@pytest.mark.parametrize(("done", "rate"), [(0, 0.1), (199, 0.01)])
def test_the_window_of_a_cloned_policy_grows_while_it_learns_online(spec, done, rate):
    config = replace(load_agent("hg_dagger").preset("default").config, utd=1)
    config = replace(config, average_rate=0.1, average_tail=2.0, trunk=Trunk(hidden=(16, 16)))
    agent = load_agent("hg_dagger").agent.create(config, spec, None, 0)
    agent = agent.replace(iterations=agent.iterations + done)
    after, _ = agent.update(fake_batch(spec, (1, 16), interventions=1.0))
    for network, average in (("actor", "average_actor"), ("gripper", "average_gripper")):
        for new, old, mean in zip(
            jax.tree.leaves(getattr(after, network).params),
            jax.tree.leaves(getattr(agent, average)),
            jax.tree.leaves(getattr(after, average)),
            strict=True,
        ):
            np.testing.assert_allclose(mean, rate * new + (1 - rate) * old, rtol=1e-4, atol=1e-7)
    with pytest.raises(ConfigError, match=r"agent\.average_tail takes 0: its steps .* got 2\.0"):
        replace(load_agent("bc").preset("default").config, average_tail=2.0)


def test_bc_learns_before_the_first_episode_and_hg_dagger_goes_on(spec):
    assert not load_agent("bc").agent.learns_online
    assert load_agent("hg_dagger").agent.learns_online
    agent = make(spec, "bc")
    batch = fake_batch(spec, (60, 16), interventions=1.0)
    one = jax.tree.map(lambda x: np.stack([x[0]] * 60), batch)
    after, info = agent.pretrain(one)
    _, first = agent.update(jax.tree.map(lambda x: x[:1], one))
    assert info["actor/nll"] < first["actor/nll"]
    assert int(after.iterations) == 0


def test_unknown_names_and_wrong_values_are_named():
    with pytest.raises(UnknownNameError, match=r"'silry'.*Did you mean 'silri'"):
        load_agent("silry")
    with pytest.raises(UnknownNameError, match=r"preset of agent silri 'relased'.*'released'"):
        load_agent("silri").preset("relased")
    with pytest.raises(ConfigError, match=r"agent\.utd takes at least 1, got 0"):
        replace(load_agent("silri").preset("default").config, utd=0)
    with pytest.raises(ConfigError, match=r"agent\.tau takes a number in \(0, 1\], got 2"):
        replace(load_agent("hil_serl").preset("default").config, tau=2.0)
