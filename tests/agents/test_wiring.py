"""Who reads which copy of a network, and how the copies follow: with copies that differ.

Everything here starts from :func:`~tests.agents.small.untied` agents. From a fresh one, whose
targets and averages equal their networks, a target network that is never used goes unnoticed.
"""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from silri.agents.losses import guidance_rows
from silri.agents.registry import AGENTS, load_agent
from silri.core.transition import fake_batch
from silri.nn.train_state import TrainState, averaging, polyak
from tests.agents.small import close, differs, make, networks, prepared, reads, rows, untied

KEY = jax.random.key(0)
GOLDEN = Path(__file__).with_name("golden.json")
PRESETS = [(name, preset) for name in AGENTS.names() for preset in load_agent(name).presets]

# What the value of each function depends on, besides the batch.
SILRI = {
    "critic_loss": {"critic", "target_critic", "target_actor"},
    "expert_loss": {"expert"},
    "warm_start_loss": {"actor"},
    "actor_loss": {"actor", "critic", "average_expert", "multiplier"},
    "multiplier_loss": {"actor", "average_expert", "multiplier"},
    "mean_action": {"average_actor", "average_gripper"},
    "policy": {"average_actor", "average_gripper"},
    "lambda": {"multiplier"},
    "bound": {"average_expert"},
    "distance": {"average_actor", "average_expert"},
    "q_policy": {"critic", "average_actor"},
    "q_human": {"critic", "average_expert"},
    "human_mean.0": {"average_expert"},
    "human_std.0": {"average_expert"},
}
HIL_SERL = {
    "critic_loss": {"critic", "target_critic", "actor"},
    "grasp_loss": {"grasp", "target_grasp"},
    "actor_loss": {"actor", "critic", "temperature"},
    "mean_action": {"average_actor", "grasp"},
    "policy": {"average_actor", "grasp"},
    "q_policy": {"critic", "average_actor"},
    "policy_std": {"average_actor"},
}
CONRFT = {
    "critic_loss": {"critic", "target_critic", "actor"},
    "offline_critic_loss": {"critic", "target_critic", "actor"},
    "actor_loss": {"actor", "critic"},
    "mean_action": {"average_actor", "average_gripper"},
    "policy": {"average_actor", "average_gripper"},
    "q_policy": {"critic", "average_actor"},
    "policy_std": {"average_actor"},
}
CLONING = {
    "actor_loss": {"actor"},
    "mean_action": {"average_actor", "average_gripper"},
    "policy": {"average_actor", "average_gripper"},
    "policy_std": {"average_actor"},
}


def outputs(name, batch, observation):
    """``agent -> every number of the tables``."""

    def call(agent):
        def loss(function, network, *extra):
            params = getattr(agent, network).params
            return getattr(agent, function)(params, batch, *extra)[0]

        result = {
            "mean_action": agent.mean_action(observation),
            "policy": agent.policy(observation, KEY, explore=True)[0],
            **agent.policy(observation, KEY, explore=False)[1],
        }
        if name == "silri":
            result["critic_loss"] = loss("critic_loss", "critic", KEY)
            result["actor_loss"] = loss("actor_loss", "actor")
            result["expert_loss"] = loss("expert_loss", "expert")
            result["warm_start_loss"] = loss("warm_start_loss", "actor")
            result["multiplier_loss"] = loss("multiplier_loss", "multiplier")
        elif name == "hil_serl":
            result["critic_loss"] = loss("critic_loss", "critic", KEY)
            result["actor_loss"] = loss("actor_loss", "actor", KEY)
            result["grasp_loss"] = loss("grasp_loss", "grasp")
        elif name == "conrft":
            result["critic_loss"] = loss("critic_loss", "critic", KEY)
            result["offline_critic_loss"] = loss("offline_critic_loss", "critic", KEY)
            result["actor_loss"] = loss("actor_loss", "actor", KEY, "online")
        else:
            result["actor_loss"] = loss("actor_loss", "actor")
        return result

    return call


@pytest.mark.parametrize(
    ("name", "preset", "table"),
    [
        ("silri", "released", SILRI),
        # The default's bound is a constant: what the person is sure of is in its distance.
        ("silri", "default", SILRI | {"bound": set()}),
        ("silri", "paper", SILRI),
        ("hil_serl", "default", HIL_SERL),
        ("conrft", "default", CONRFT),
        ("bc", "default", CLONING),
        ("hg_dagger", "default", CLONING),
    ],
)
def test_every_function_reads_the_copies_that_it_should(spec, name, preset, table):
    agent = untied(make(spec, name, preset))
    read = reads(agent, outputs(name, rows(agent, spec), prepared(agent, spec)))
    for function, expected in table.items():
        assert read[function] == expected, function


# -- how copies follow their networks, and golden numbers ------------------------------------------


def check_copies(before, after):
    """One update with one critic step has moved every copy by its own rate."""
    config, name = before.config, type(before).__name__
    if "SiLRI" in name:
        late = 2.0 / (int(before.iterations) + 1)
        window = 1.0 if config.average_rate == 1.0 else min(config.average_rate, late)
        followed = {
            "target_critic": (after.critic, config.tau),
            # The actor's step comes after the critic's: its target follows what it was.
            "target_actor": (before.actor, config.tau),
            "average_expert": (after.expert, config.expert_rate),
            "average_actor": (after.actor, window),
            "average_gripper": (after.gripper, window),
        }
    elif "HILSERL" in name:
        followed = {
            "target_critic": (after.critic, config.tau),
            "target_grasp": (after.grasp, config.tau),
            "average_actor": (after.actor, config.average_rate),
        }
    elif "ConRFT" in name:
        followed = {
            "target_critic": (after.critic, config.tau),
            "average_actor": (after.actor, config.average_rate),
            "average_gripper": (after.gripper, config.average_rate),
        }
    else:
        followed = {
            "average_actor": (after.actor, config.average_rate),
            "average_gripper": (after.gripper, config.average_rate),
        }
    copies = {n for n in networks(before) if n.startswith(("target_", "average_"))}
    assert copies == set(followed)
    for copy, (network, rate) in followed.items():
        close(getattr(after, copy), polyak(network.params, getattr(before, copy), rate))
        assert differs(getattr(before, copy), getattr(after, copy)), copy


def fingerprint(agent) -> dict[str, float]:
    """The size of every network, copy and optimiser, to be compared with a tolerance."""
    trees = dict(networks(agent))
    for field in fields(agent):
        state = getattr(agent, field.name)
        if isinstance(state, TrainState):
            trees[f"{field.name}.optimiser"] = state.opt_state
    weights = np.random.default_rng(0)

    def size(tree):
        total = 0.0
        for leaf in jax.tree.leaves(tree):
            leaf = np.asarray(leaf, np.float64)
            # Weighted, so that two numbers which change places are not missed.
            total += float((leaf * weights.uniform(0.5, 1.5, leaf.shape)).sum())
        return total

    return {name: size(tree) for name, tree in sorted(trees.items())}


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_updates_move_every_copy_by_its_rate_and_give_the_golden_numbers(spec, name, preset):
    """Anything that changes what an update does changes these numbers: say why in the commit.

    ``SILRI_GOLDEN=write pytest tests/agents/test_wiring.py -k golden -n 0`` writes them anew.
    """
    agent = untied(make(spec, name, preset, utd=1))
    agent = agent.replace(iterations=jnp.asarray(10_000, jnp.int32))
    for step in range(3):
        before = agent
        batch = fake_batch(spec, (1, 16), step, 0.9, agent.config.columns)
        agent, _ = agent.update(batch)
        check_copies(before, agent)
    got = fingerprint(agent)
    golden = json.loads(GOLDEN.read_text())
    if os.environ.get("SILRI_GOLDEN") == "write":
        golden[f"{name}/{preset}"] = {key: round(value, 6) for key, value in got.items()}
        GOLDEN.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")
    wanted = golden[f"{name}/{preset}"]
    assert got.keys() == wanted.keys()
    for key, value in got.items():
        assert value == pytest.approx(wanted[key], rel=1e-4, abs=1e-4), key


@pytest.mark.parametrize(
    ("done", "rate", "tail", "fresh", "expected"),
    [
        (0, 0.1, 0.0, False, 0.1),
        (0, 0.1, 2.0, False, 0.1),
        (199, 0.1, 2.0, False, 0.01),
        (0, 0.1, 2.0, True, 1.0),
        (4, 0.1, 0.0, True, 0.2),
        (99, 0.1, 0.0, True, 0.1),
        (199, 0.1, 2.0, True, 0.1),
        (5, 1.0, 2.0, False, 1.0),
    ],
)
def test_the_average_covers_a_growing_window(done, rate, tail, fresh, expected):
    got = averaging(rate, jnp.asarray(done, jnp.int32), tail, fresh=fresh)
    assert float(got) == pytest.approx(expected, rel=1e-6)


# -- one learner iteration, step by step ---------------------------------------------------------


@pytest.mark.parametrize("name", ["silri", "hil_serl"])
def test_an_iteration_is_its_steps_in_order_with_a_key_each(spec, name):
    agent = untied(make(spec, name, utd=2))
    raw = fake_batch(spec, (2, 16), columns=agent.config.columns)
    raw.is_intervention[-1] = np.tile([1.0, 0.0], 8)  # in the online half, too
    raw = raw._replace(human_action=-raw.action)
    after, _ = agent.update(raw)
    by_hand, same_key = jax.jit(by_steps, static_argnames="name")(agent, raw, name=name)
    for network in networks(by_hand):
        close(getattr(after, network), getattr(by_hand, network), rtol=2e-4, atol=2e-6)
    assert distance(after.critic.params, same_key) > 1e-5
    if name == "silri":  # the robot's own count, too
        batch = guidance_rows(jax.tree.map(lambda x: x[-1], agent.prepare(raw)), 0.5)
        guided, _ = jax.jit(type(agent).update_expert)(agent, batch)
        assert distance(after.expert.params, guided.expert.params) > 1e-4


def by_steps(agent, raw, name):
    """A learner iteration of two critic steps written out; and the critic if keys were equal."""
    batch = agent.prepare(raw)
    first, last = (jax.tree.map(lambda x, u=u: x[u], batch) for u in (0, 1))
    if name == "silri":
        keys = jax.random.split(agent.update_key(), 2)
        result, _ = agent.update_critic(first, keys[0])
        same_key = result.update_critic(last, keys[0])[0].critic.params
        result, _ = result.update_critic(last, keys[1])
        result, _ = result.update_expert(last)
        result, _ = result.update_actor(last)
        result, _ = result.update_multiplier(last)
        return result, same_key
    keys = jax.random.split(agent.update_key(), 3)
    result, _ = agent.update_critics(first, keys[1])
    same_key = result.update_critics(last, keys[1])[0].critic.params
    result, _ = result.update_critics(last, keys[2])
    actor, info = result.actor.apply_loss(lambda params: result.actor_loss(params, last, keys[0]))
    temperature, _ = result.temperature.apply_loss(
        lambda params: result.temperature_loss(params, info["actor/entropy"])
    )
    rate = averaging(result.config.average_rate, agent.iterations, fresh=True)
    average = polyak(actor.params, agent.average_actor, rate)
    return result.replace(actor=actor, temperature=temperature, average_actor=average), same_key


def distance(left, right):
    """The largest difference of two numbers at the same place of two trees."""
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs)
