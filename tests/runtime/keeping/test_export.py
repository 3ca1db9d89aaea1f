from __future__ import annotations

import json

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from silri.agents.augment import Augment
from silri.agents.registry import AGENTS
from silri.core.errors import DataError, SilriError
from silri.core.specs import ActionSpec
from silri.core.transition import fake_batch
from silri.runtime.keeping.export import DESCRIPTION, WEIGHTS, export_policy, load_policy
from silri.vision.config import VisionConfig
from silri.vision.sight import Sight
from silri.vision.sighted import Sighted
from tests.conftest import make_spec
from tests.fakes.runs import tiny_run

SPEC = make_spec(ActionSpec(4, gripper=(3,)))
STATISTICS = {
    key: (np.full(array.shape, 0.5, np.float32), np.full(array.shape, 2.0, np.float32))
    for key, array in SPEC.observation.items()
}


def observations(count=5):
    return fake_batch(SPEC, (count,), seed=3).observation


def make(name, seed=7):
    from silri.agents.registry import load_agent

    config = tiny_run(name, augment=Augment(relative=0.05))  # of other inputs than without it
    agent = load_agent(name).agent.create(config.agent, SPEC, seed, config.augment)
    agent = agent.normalised_by(STATISTICS)
    return Sighted(agent, Sight(VisionConfig(), SPEC)), config


@pytest.fixture
def exported(tmp_path):
    agent, config = make("bc")
    export_policy(agent, config, SPEC, tmp_path / "policy")
    return tmp_path / "policy", agent


@pytest.mark.parametrize("name", AGENTS.names())
def test_a_loaded_policy_acts_alike(tmp_path, name):
    agent, config = make(name)
    export_policy(agent, config, SPEC, tmp_path / "policy")
    loaded, loaded_config, spec = load_policy(tmp_path / "policy")
    assert loaded_config.agent == config.agent
    assert (spec.name, spec.action, spec.max_episode_steps) == (SPEC.name, SPEC.action, 10)
    assert spec.observation == dict(SPEC.observation)
    np.testing.assert_array_equal(
        loaded.act_deterministic(observations()), agent.act_deterministic(observations())
    )
    one = {key: value[0] for key, value in observations().items()}
    for explore in (True, False):
        mine, why = agent.act(one, episode=3, step=2, explore=explore)
        theirs, why_theirs = loaded.act(one, episode=3, step=2, explore=explore)
        np.testing.assert_array_equal(mine, theirs)
        assert why == why_theirs


def test_nothing_of_the_optimiser_is_exported(exported):
    folder, agent = exported
    assert {path.name for path in folder.iterdir()} == {WEIGHTS, DESCRIPTION}
    names = load_file(folder / WEIGHTS)
    assert names
    assert not any("opt" in name or "mu" in name.split(".") for name in names)
    moments = sum(leaf.size for leaf in jax.tree.leaves(agent.agent.actor.opt_state))
    stored = sum(array.size for array in names.values())
    assert stored < sum(leaf.size for leaf in jax.tree.leaves(agent.agent)) - moments + 1


def test_an_export_replaces_the_one_before(exported, tmp_path):
    folder, _ = exported
    other, config = make("bc", seed=8)
    export_policy(other, config, SPEC, folder)
    loaded, _, _ = load_policy(folder)
    np.testing.assert_array_equal(
        loaded.act_deterministic(observations()), other.act_deterministic(observations())
    )


def rewrite(folder, change):
    arrays = load_file(folder / WEIGHTS)
    change(arrays)
    save_file(arrays, folder / WEIGHTS)


def describe(folder, change):
    data = json.loads((folder / DESCRIPTION).read_text())
    change(data)
    (folder / DESCRIPTION).write_text(json.dumps(data))


def first_kernel(arrays):
    return next(name for name in sorted(arrays) if "kernel" in name)


DAMAGES = {
    "no weights": (lambda f: (f / WEIGHTS).unlink(), "holds no exported policy"),
    "no description": (lambda f: (f / DESCRIPTION).unlink(), "holds no exported policy"),
    "cut weights": (
        lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-10]),
        "is damaged",
    ),
    "cut description": (lambda f: (f / DESCRIPTION).write_text('{"format": 1,'), "is damaged"),
    "no text": (lambda f: (f / DESCRIPTION).write_bytes(b"\xff\xfe\x00"), "is damaged"),
    "another format": (lambda f: describe(f, lambda d: d.update(format=99)), "has format 99"),
    "no run": (lambda f: describe(f, lambda d: d.pop("run")), "run"),
    "no spec": (lambda f: describe(f, lambda d: d.pop("spec")), "spec"),
    "broken spec": (lambda f: describe(f, lambda d: d["spec"].update(action=3)), "spec"),
    "a list": (lambda f: (f / DESCRIPTION).write_text("[]"), "policy"),
    "unknown field": (
        lambda f: describe(f, lambda d: d["run"]["agent"].update(kapa=1)),
        "agent has no field 'kapa'",
    ),
    "missing array": (lambda f: rewrite(f, lambda a: a.pop(first_kernel(a))), "does not fit"),
    "surplus array": (
        lambda f: rewrite(f, lambda a: a.update(extra=np.zeros(1, np.float32))),
        "extra",
    ),
    "wrong shape": (
        lambda f: rewrite(f, lambda a: a.update({first_kernel(a): np.zeros(3, np.float32)})),
        r"has shape \(3,\)",
    ),
    "not finite": (
        lambda f: rewrite(
            f, lambda a: a.update({first_kernel(a): np.full_like(a[first_kernel(a)], np.nan)})
        ),
        "not finite",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_policy_is_an_error_that_says_so(exported, damage):
    folder, _ = exported
    spoil, message = DAMAGES[damage]
    spoil(folder)
    with pytest.raises(SilriError, match=message):
        load_policy(folder)


def test_a_run_without_a_policy_says_when_there_will_be_one(tmp_path):
    with pytest.raises(DataError, match="a run exports one at its first evaluation"):
        load_policy(tmp_path)
