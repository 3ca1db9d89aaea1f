"""An agent that begins with the policy of one that was trained before."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from silri.agents.start import start_from
from silri.core.errors import ConfigError
from silri.core.specs import ActionSpec
from silri.core.transition import fake_batch
from silri.nn.mlp import Trunk
from tests.agents.small import STILL, close, differs, make, networks, raw, untied


def trained(spec, name, **fields):
    """Networks, averages and statistics that no fresh agent has."""
    agent = untied(make(spec, name, **fields))
    statistics = {
        key: (np.full(a.shape, 0.3, np.float32), np.full(a.shape, 2.0, np.float32))
        for key, a in spec.observation.items()
    }
    return agent.normalised_by(statistics)


def observations(spec):
    return fake_batch(spec, (16,), 5).observation


def assert_it_acts_as(agent, before, seen):
    wanted = before.act_deterministic(seen)
    np.testing.assert_array_equal(agent.act_deterministic(seen), wanted)
    tied = {n: p for n, p in networks(agent).items() if n.endswith("actor")}
    for params in tied.values():  # targets and averages begin there, too
        close(params, agent.actor.params, rtol=0, atol=0)


def test_it_acts_as_the_trained_one_did(any_spec):
    before, seen = trained(any_spec, "bc"), observations(any_spec)
    fresh = make(any_spec, "silri", utd=1)
    assert differs(fresh.act_deterministic(seen), before.act_deterministic(seen))
    agent, notes = start_from(fresh, before, "runs/before")
    assert notes == []
    assert_it_acts_as(agent, before, seen)


@pytest.mark.parametrize(("name", "source"), [("hg_dagger", "silri"), ("silri", "silri")])
def test_algorithms_whose_policy_has_a_mean_start_one_another(spec, name, source):
    before, seen = trained(spec, source), observations(spec)
    agent, _ = start_from(make(spec, name, utd=1), before, "runs/before")
    assert_it_acts_as(agent, before, seen)
    after, _ = agent.update(raw(agent, spec, (1, 16)))
    assert differs(after.actor.params, agent.actor.params)


def test_motion_for_hil_serl_and_a_word_on_the_gripper(spec):
    """Its gripper is a critic of commands: what classes were likely says nothing of worth."""
    grips = replace(spec, action=ActionSpec(4, (3,)))
    before, seen = trained(grips, "bc"), observations(grips)
    agent, notes = start_from(make(grips, "hil_serl"), before, "runs/before")
    motion = [a.act_deterministic(seen)[..., :3] for a in (agent, before)]
    close(*motion)
    (note,) = notes
    assert note.startswith("the gripper begins anew: runs/before decides it by another network")
    same, notes = start_from(make(grips, "hil_serl"), trained(grips, "hil_serl"), "runs/before")
    assert notes == []
    wanted = trained(grips, "hil_serl").act_deterministic(seen)
    np.testing.assert_array_equal(same.act_deterministic(seen), wanted)


def test_a_consistency_policy_starts_one_of_its_kind_only(spec):
    before, seen = trained(spec, "conrft"), observations(spec)
    agent, _ = start_from(make(spec, "conrft"), before, "runs/before")
    np.testing.assert_array_equal(agent.act_deterministic(seen), before.act_deterministic(seen))
    with pytest.raises(ConfigError, match=r"the policy of runs/before is another network: Con"):
        start_from(make(spec, "silri"), before, "runs/before")
    with pytest.raises(ConfigError, match="start with the algorithm that it was trained with"):
        start_from(make(spec, "conrft"), trained(spec, "bc"), "runs/before")


def test_what_does_not_fit_is_named(spec):
    before = trained(spec, "bc")
    wide = make(spec, "bc", trunk=Trunk(hidden=(9,)))
    with pytest.raises(
        ConfigError, match=r"BCAgent has .8, 3. where BCAgent has .*kernel.* .9, 3.; "
    ):
        start_from(wide, before, "runs/before")
    deep = make(spec, "bc", trunk=Trunk(hidden=(8, 8)))
    with pytest.raises(ConfigError, match="another network"):
        start_from(make(spec, "bc"), untied(deep), "runs/before")
    relative = make(spec, "bc", augment=replace(STILL, relative=0.05))
    with pytest.raises(ConfigError, match=r"augment\.relative 0\.0; this run has 0\.05"):
        start_from(relative, before, "runs/before")
    other = replace(spec, action=ActionSpec(3))
    with pytest.raises(ConfigError, match=r"runs/before acts by ActionSpec\("):
        start_from(make(other, "bc"), before, "runs/before")


def test_moments_start_afresh(spec):
    agent, _ = start_from(make(spec, "bc"), trained(spec, "bc"), "runs/before")
    assert all(float(jnp.abs(m).sum()) == 0 for m in _moments(agent.actor.opt_state))


def _moments(state):
    return [leaf for leaf in jax.tree.leaves(state) if leaf.ndim]
