"""A correction of a policy that does not change."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from silri.agents.registry import load_agent
from silri.agents.residual import BASE_ACTION, KEEP, Base, create_agent, frozen
from silri.agents.start import start_from
from silri.core.errors import ConfigError
from silri.core.specs import ActionSpec, ArraySpec
from silri.core.transition import fake_batch
from tests.agents.small import STILL, TRUNK, close, differs, make, networks, untied


def policy(spec, name="bc"):
    """A base with statistics of its own, like one that was trained."""
    statistics = {
        key: (np.full(a.shape, 0.3, np.float32), np.full(a.shape, 2.0, np.float32))
        for key, a in spec.observation.items()
    }
    return untied(make(spec, name)).normalised_by(statistics)


def correcting(spec, name="silri", base=None, *, scale=1.0, augment=STILL, **settings):
    """An agent of the algorithm ``name`` on top of a base."""
    entry = load_agent(name)
    config = replace(entry.preset("default").config, trunk=TRUNK, batch_size=16)
    below = Base(frozen(policy(spec) if base is None else base), scale)
    return create_agent(entry.agent, replace(config, **settings), spec, 0, augment, below)


def seen(spec, rows=16):
    return fake_batch(spec, (rows,), 5).observation


def assert_it_begins_as_its_base(spec, name):
    base = policy(spec)
    agent = correcting(spec, name, base)
    wanted = base.act_deterministic(seen(spec))
    np.testing.assert_array_equal(agent.act_deterministic(seen(spec)), wanted)
    one = {key: value[0] for key, value in seen(spec).items()}
    action, _ = agent.act(one, episode=0, step=0, explore=False)
    np.testing.assert_array_equal(action, base.act_deterministic(one))
    return agent


def test_it_begins_as_the_base_bit_for_bit(any_spec):
    assert_it_begins_as_its_base(any_spec, "silri")


@pytest.mark.parametrize("name", ["silri", "hil_serl", "hg_dagger", "conrft"])
def test_every_algorithm_learns_and_the_base_does_not(spec, name):
    grips = replace(spec, action=ActionSpec(4, (3,)))
    agent = assert_it_begins_as_its_base(grips, name)
    batch = fake_batch(grips, (agent.config.utd, 16), columns=agent.config.columns)
    after, info = agent.update(batch)
    assert differs(after.actor.params, agent.actor.params)
    assert not differs(after.base, agent.base)
    assert all(np.isfinite(value).all() for value in info.values())
    executed = after.act_deterministic(seen(grips))
    assert differs(executed, agent.act_deterministic(seen(grips)))
    np.testing.assert_array_equal(executed, grips.action.snap(executed))


def test_what_was_done_becomes_the_correction_that_does_it(any_spec):
    agent = correcting(any_spec, scale=0.5)
    batch = fake_batch(any_spec, (1, 64))
    prepared = agent.base.batch(batch)
    informed = prepared.observation
    again = agent.base.executed(informed, prepared.action)
    close(again, batch.action, rtol=0, atol=1e-6)
    wanted = agent.base.agent.act_deterministic(batch.observation)
    close(informed[BASE_ACTION], wanted, rtol=0, atol=1e-6)


def test_out_of_reach_the_critic_sees_what_was_done_and_the_actor_the_nearest(spec):
    agent = correcting(spec, scale=0.25)
    batch = fake_batch(spec, (1, 64))
    prepared, motion = agent.base.batch(batch), list(spec.action.continuous)
    done, shown = (np.asarray(a)[..., motion] for a in (prepared.action, prepared.human_action))
    assert np.abs(done).max() > 1.0
    np.testing.assert_array_equal(shown, np.clip(done, -1.0, 1.0))
    flat = {key: value[0] for key, value in batch.observation.items()}
    beyond = agent.base.out_of_reach(flat, np.asarray(batch.action[0]))
    np.testing.assert_array_equal(beyond, (np.abs(done[0]) > 1.0).any(-1))


def test_a_gripper_is_the_bases_until_it_says_otherwise(spec):
    three = replace(spec, action=ActionSpec(4, (3,), (-1.0, 0.0, 1.0)))
    agent = correcting(three)
    assert agent.action_spec.gripper_values == (KEEP, -1.0, 0.0, 1.0)
    commands = jnp.asarray([-1.0, 0.0, 1.0])

    def executed(word):
        by = jnp.zeros((3, 4)).at[:, 3].set(word)
        informed = {BASE_ACTION: jnp.zeros((3, 4)).at[:, 3].set(commands)}
        return np.asarray(agent.base.executed(informed, by)[:, 3]).tolist()

    assert executed(KEEP) == [-1.0, 0.0, 1.0]
    for word in (-1.0, 0.0, 1.0):
        assert executed(word) == [word] * 3


def test_a_moved_row_is_corrected_from_what_the_base_would_do_there(spec):
    points = replace(spec, points={sorted(spec.observation)[0]: ((0, 1),)})
    agent = correcting(points, augment=replace(STILL, shift=0.5))
    batch = fake_batch(points, (1, 64))
    moved = agent.augmentation(agent.update_key(), batch)
    assert differs(moved.observation, batch.observation)
    base = agent.base.agent.act_deterministic(moved.observation)
    by = agent.base.correction(jnp.asarray(base), jnp.asarray(batch.action))
    close(agent.prepare(batch).action, by, rtol=0, atol=1e-6)


def test_a_correction_can_be_corrected(spec):
    below = correcting(spec, "silri")
    below = below.replace(average_actor=untied(below).average_actor)
    agent = correcting(spec, "hil_serl", below)
    wanted = below.act_deterministic(seen(spec))
    assert differs(wanted, below.base.agent.act_deterministic(seen(spec)))
    np.testing.assert_array_equal(agent.act_deterministic(seen(spec)), wanted)


def test_statistics_are_the_bases_until_demonstrations_say_others(spec):
    agent = correcting(spec)
    key = sorted(spec.observation)[0]
    np.testing.assert_array_equal(agent.normalizer.std[key], agent.base.agent.normalizer.std[key])
    ones = {k: (np.ones(a.shape), np.ones(a.shape)) for k, a in spec.observation.items()}
    fitted = agent.normalised_by(ones).normalizer
    assert float(fitted.std[key].max()) == 1.0
    assert float(jnp.abs(fitted.mean[BASE_ACTION]).max()) == 0.0  # actions have a scale already


def test_the_base_has_no_moments(spec):
    states = jax.tree.leaves(correcting(spec).base.agent.actor.opt_state)
    assert states == []
    assert networks(correcting(spec).base.agent)


def test_what_does_not_fit_is_refused(spec):
    base = Base(policy(spec), 1.0)
    entry = load_agent("silri")
    config = entry.preset("default").config
    other = replace(spec, action=ActionSpec(spec.action.size + 1))
    with pytest.raises(ConfigError, match=r"the base acts by ActionSpec.* environment takes Act"):
        create_agent(entry.agent, config, other, 0, STILL, base)
    taken = replace(spec, observation={**spec.observation, BASE_ACTION: ArraySpec((3,))})
    with pytest.raises(ConfigError, match="observes 'base_action', which a correction needs"):
        create_agent(entry.agent, config, taken, 0, STILL, base)
    with pytest.raises(ConfigError, match=r"runs/x corrects another policy .*--residual\.base"):
        start_from(make(spec), correcting(spec), "runs/x")
