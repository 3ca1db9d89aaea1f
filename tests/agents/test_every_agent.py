"""What holds for every algorithm."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import jax
import numpy as np
import pytest

from silri.agents.registry import load_agent
from silri.agents.silri import SiLRIConfig
from silri.agents.stages import ONLINE, Stage
from silri.core.errors import ConfigError, UnknownNameError
from silri.core.settings import settings
from silri.core.specs import ArraySpec
from silri.core.transition import fake_batch
from tests.agents.small import STILL, differs, make, raw


def finite(tree):
    return all(bool(np.isfinite(leaf).all()) for leaf in jax.tree.leaves(tree))


# The others are these with another schedule or one other step: test_wiring.py updates them all.
@pytest.mark.parametrize("name", ["silri", "hil_serl", "conrft", "bc"])
def test_one_arm_two_or_none_is_a_matter_of_the_spec(any_spec, name):
    agent = make(any_spec, name, utd=1)
    agent, info = agent.update(raw(agent, any_spec, (1, 16)))
    assert int(agent.iterations) == 1
    assert finite(agent)
    assert finite(info)
    observation = {key: np.zeros(v.shape, np.float32) for key, v in any_spec.observation.items()}
    action, _ = agent.act(observation, episode=0, step=0, explore=True)
    np.testing.assert_array_equal(action, any_spec.action.snap(action))
    stacked = {key: np.stack([value] * 3) for key, value in observation.items()}
    assert agent.act_deterministic(stacked).shape == (3, any_spec.action.size)


@pytest.mark.parametrize("name", ["hil_serl", "bc"])
def test_updates_see_moved_rows_and_acting_sees_things_as_they_are(spec, name):
    still = make(spec, name, utd=1)
    moved = make(spec, name, utd=1, augment=replace(STILL, shift=0.5))
    batch = fake_batch(spec, (1, 16))
    assert differs(still.update(batch)[0].actor.params, moved.update(batch)[0].actor.params)
    observation = {key: np.ones(v.shape, np.float32) for key, v in spec.observation.items()}
    actions = [a.act(observation, episode=0, step=0, explore=False)[0] for a in (still, moved)]
    np.testing.assert_array_equal(*actions)


def test_a_variant_that_needs_a_column_more_keeps_those_it_inherits():
    @settings("agent")
    class Config(SiLRIConfig):
        columns: ClassVar[tuple[str, ...]] = ("mc_return", "success")

    assert SiLRIConfig.columns == Config().columns[:1] == ("success",)
    assert Config.columns == ("success", "mc_return")


def test_positions_from_the_hand_are_inputs_of_acting_and_learning(spec):
    agent = make(spec, "bc", utd=1, augment=replace(STILL, relative=0.05))
    plain = make(spec, "bc", utd=1)
    sizes = [a.actor.params["MLP_0"]["Dense_0"]["kernel"].shape[0] for a in (agent, plain)]
    assert sizes[0] == sizes[1] + 2
    agent, _ = agent.update(raw(agent, spec, (1, 16)))
    observation = {key: np.zeros(v.shape, np.float32) for key, v in spec.observation.items()}
    action, _ = agent.act(observation, episode=0, step=0, explore=False)
    assert np.isfinite(action).all()


def test_a_camera_is_seen_by_every_network_through_an_encoder_of_its_own(spec):
    eyes = replace(
        spec, observation={**spec.observation, "images.front": ArraySpec((8, 8, 3), "uint8")}
    )
    agent = make(eyes, "silri")
    encoders = [
        getattr(agent, name).params["observer"]["encoder_images_front"]
        for name in ("critic", "actor", "expert", "multiplier", "gripper")
    ]
    assert all(differs(encoders[0], other) for other in encoders[1:])
    agent = make(eyes, "bc", utd=1)
    after, info = agent.update(raw(agent, eyes, (1, 16), interventions=1.0))
    assert finite(info)
    for name in ("actor", "gripper"):
        before, trained = (getattr(a, name).params["observer"] for a in (agent, after))
        assert all(
            differs(a, b)
            for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(trained), strict=True)
        ), name
    batch = fake_batch(eyes, (1,), 3)
    dark = {key: value[0] for key, value in batch.observation.items()}
    light = dark | {"images.front": 255 - dark["images.front"]}
    actions = [after.act(o, episode=0, step=0, explore=False)[0] for o in (dark, light)]
    assert (actions[0] != actions[1]).any()


@pytest.mark.parametrize("name", ["silri", "hil_serl", "bc"])
def test_the_same_seed_gives_the_same_agent_and_nothing_is_compiled_twice(spec, name):
    left, right = make(spec, name, utd=1), make(spec, name, utd=1)
    update = type(left).update
    for step in range(3):
        batch = raw(left, spec, (left.config.utd, 16), step)
        left, _ = left.update(batch)
        if step == 0:
            compiled = update._cache_size()
        right, _ = right.update(batch)
    assert update._cache_size() == compiled
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["bc", "hg_dagger"])
def test_cloning_reaches_every_parameter_and_ignores_the_robot(spec, name):
    agent = make(spec, name, utd=1)
    after, _ = agent.update(raw(agent, spec, (1, 16), interventions=1.0))
    for network in ("actor", "gripper"):
        before_leaves = jax.tree.leaves(getattr(agent, network).params)
        after_leaves = jax.tree.leaves(getattr(after, network).params)
        for a, b in zip(before_leaves, after_leaves, strict=True):
            assert (a != b).any()
    still, info = after.update(raw(after, spec, (1, 16), interventions=0.0))
    for a, b in zip(jax.tree.leaves(after.actor), jax.tree.leaves(still.actor), strict=True):
        np.testing.assert_array_equal(a, b)
    assert finite(info)


def test_bc_is_trained_before_the_first_episode_and_hg_dagger_goes_on(spec):
    configs = {name: load_agent(name).preset("default").config for name in ("bc", "hg_dagger")}
    assert not configs["bc"].learns_online
    assert configs["hg_dagger"].learns_online
    agent = make(spec, "bc")
    batch = fake_batch(spec, (60, 16), interventions=1.0)
    one = jax.tree.map(lambda x: np.stack([x[0]] * 60), batch)
    after, info = agent.update(one, "clone")
    _, later = after.update(one, "clone")
    assert later["actor/nll"] < info["actor/nll"]
    assert int(after.iterations) == 0  # only online iterations are counted


def test_fresh_optimisers_keep_the_networks_and_forget_the_moments(spec):
    agent, _ = make(spec, "hil_serl", utd=1).update(fake_batch(spec, (1, 16)))
    fresh = agent.with_fresh_optimisers()
    for name in ("critic", "actor", "temperature", "grasp"):
        before, after = getattr(agent, name), getattr(fresh, name)
        assert not differs(before.params, after.params), name
        assert differs(before.opt_state, after.opt_state), name
        assert not differs(after.opt_state, after.optimizer.init(after.params)), name
    assert not differs(agent.target_critic, fresh.target_critic)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ((Stage("dance"),), r"agent\.stages takes stages of the names clone, .*got 'dance'"),
        ((), r"agent\.stages takes one stage or more"),
        ((ONLINE, ONLINE), r"all but the last with a number of updates"),
    ],
)
def test_a_schedule_is_checked(stages, message):
    with pytest.raises(ConfigError, match=message):
        replace(load_agent("silri").preset("default").config, stages=stages)


def test_unknown_names_and_wrong_values_are_named():
    with pytest.raises(UnknownNameError, match=r"'silry'.*Did you mean 'silri'"):
        load_agent("silry")
    with pytest.raises(UnknownNameError, match=r"preset of agent silri 'relased'.*'released'"):
        load_agent("silri").preset("relased")
    with pytest.raises(ConfigError, match=r"agent\.utd takes a whole number >= 1, got 0"):
        replace(load_agent("silri").preset("default").config, utd=0)
    with pytest.raises(ConfigError, match=r"agent\.tau takes .*, got 2"):
        replace(load_agent("hil_serl").preset("default").config, tau=2.0)
    with pytest.raises(ConfigError, match=r"agent\.std_bounds takes 0 < low < high, got"):
        replace(load_agent("bc").preset("default").config, std_bounds=(2.0, 1.0))
