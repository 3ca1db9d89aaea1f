"""benchmarks/torch_silri.py learns what SiLRI's default learns; else times say nothing."""

import importlib

import jax
import numpy as np
import pytest

from silri.agents import silri
from silri.core.specs import ActionSpec, ArraySpec, EnvSpec
from silri.core.transition import fake_batch
from tests.source import ROOT

pytestmark = pytest.mark.slow

SPEC = EnvSpec("parity", {"a": ArraySpec((5,)), "b": ArraySpec((4,))}, ActionSpec(4, (3,)), 10)
NETWORKS = {  # of torch_silri: of SiLRIAgent, and whether that is a TrainState
    "actor": ("actor", True),
    "expert": ("expert", True),
    "gripper": ("gripper", True),
    "multiplier": ("multiplier", True),
    "target_actor": ("target_actor", False),
    "average_actor": ("average_actor", False),
    "average_expert": ("average_expert", False),
    "average_gripper": ("average_gripper", False),
}


@pytest.fixture
def pair(monkeypatch):
    """Both learners with the same weights and no noise on target actions."""
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    theirs = importlib.import_module("torch_silri")
    monkeypatch.setattr(silri, "TARGET_NOISE", 0.0)
    monkeypatch.setattr(theirs, "TARGET_NOISE", 0.0)
    agent = silri.SiLRIAgent.create(silri.SiLRIConfig(), SPEC, 0)
    learner = theirs.TorchSiLRI(9, 3)
    for name, weights in networks(agent).items():
        fill(module(learner, name), weights)
    yield agent, learner
    jax.clear_caches()  # nobody else may get what was compiled without noise


def networks(agent):
    """Layers by the names of ``torch_silri``: ``critics.0``, ``actor``, ..."""
    found = {}
    for name, (ours, state) in NETWORKS.items():
        value = getattr(agent, ours)
        found[name] = layers(value.params if state else value)
    for name, params in (("critics", agent.critic.params), ("target_critics", agent.target_critic)):
        (members,) = params.values()
        for index in range(2):
            found[f"{name}.{index}"] = layers(jax.tree.map(lambda x, i=index: x[i], members))
    return found


def layers(params):
    """Arrays in the order of torch's parameters: weight and bias of each layer in turn."""
    trunk = params["MLP_0"]
    # The Gaussian policy has two output layers, torch_silri's has one with both outputs.
    heads = [params[key] for key in sorted(params) if key.startswith("Dense_")]
    arrays = []
    for index in range(2):
        dense, norm = trunk[f"Dense_{index}"], trunk[f"LayerNorm_{index}"]
        arrays += [dense["kernel"].T, dense["bias"], norm["scale"], norm["bias"]]
    arrays.append(np.concatenate([np.asarray(head["kernel"]).T for head in heads]))
    arrays.append(np.concatenate([np.asarray(head["bias"]) for head in heads]))
    return [np.asarray(array) for array in arrays]


def module(learner, name):
    name, _, index = name.partition(".")
    found = getattr(learner, name)
    return found[int(index)] if index else found


def fill(network, weights):
    torch = importlib.import_module("torch")
    with torch.no_grad():
        for parameter, value in zip(network.parameters(), weights, strict=True):
            parameter.copy_(torch.from_numpy(value.copy()))


def test_an_iteration_of_both_gives_the_same_networks(pair):
    agent, learner = pair
    torch, columns = importlib.import_module("torch"), importlib.import_module("learner")
    before = networks(agent)
    for seed in range(3):
        batch = fake_batch(SPEC, (agent.config.utd, 32), seed, columns=agent.config.columns)
        agent, _ = agent.update(batch)
        arrays = columns.torch_columns(batch)
        learner.update({name: torch.from_numpy(column) for name, column in arrays.items()})
    for name, weights in networks(agent).items():
        for ours, theirs in zip(weights, module(learner, name).parameters(), strict=True):
            np.testing.assert_allclose(theirs.detach().numpy(), ours, atol=2e-5, err_msg=name)
        moved = max(np.abs(a - b).max() for a, b in zip(before[name], weights, strict=True))
        assert moved > 1e-6, name


def test_without_a_person_both_learn_from_rewards_alone(pair):
    agent, learner = pair
    torch, columns = importlib.import_module("torch"), importlib.import_module("learner")
    before = networks(agent)
    batch = fake_batch(
        SPEC, (agent.config.utd, 32), interventions=0.0, columns=agent.config.columns
    )
    agent, _ = agent.update(batch)
    arrays = columns.torch_columns(batch)
    learner.update({name: torch.from_numpy(column) for name, column in arrays.items()})
    for name, weights in networks(agent).items():
        for ours, theirs in zip(weights, module(learner, name).parameters(), strict=True):
            np.testing.assert_allclose(theirs.detach().numpy(), ours, atol=2e-5, err_msg=name)
        still = all(np.array_equal(a, b) for a, b in zip(before[name], weights, strict=True))
        assert still == (name in {"expert", "gripper", "multiplier"}) or name.startswith("average")
