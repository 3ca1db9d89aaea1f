"""Small agents, agents whose copies of a network differ, and what a function reads of an agent."""

from __future__ import annotations

from dataclasses import fields, replace

import jax
import numpy as np

from silri.agents.augment import Augment
from silri.agents.registry import load_agent
from silri.core.transition import fake_batch
from silri.nn.mlp import Trunk
from silri.nn.train_state import TrainState

STILL = Augment(
    feature_noise=0.0, sentence_noise=0.0, shift=0.0, goal_shift=0.0, relative=0.0, crop=0
)  # batches are not changed
TRUNK = Trunk(hidden=(8,))  # what is compiled is small


def make(spec, name="silri", preset="default", *, augment=STILL, **settings):
    """An agent with small networks; ``settings`` are fields of its configuration."""
    entry = load_agent(name)
    config = replace(entry.preset(preset).config, trunk=TRUNK, batch_size=16)
    return entry.agent.create(replace(config, **settings), spec, 0, augment)


def networks(agent) -> dict[str, object]:
    """The parameters of every network and of every copy of one, by field name."""
    result = {}
    for field in fields(agent):
        value = getattr(agent, field.name)
        if isinstance(value, TrainState):
            result[field.name] = value.params
        elif field.name.startswith(("target_", "average_")) and value is not None:
            result[field.name] = value
    return result


def with_networks(agent, parameters):
    """The agent with other parameters in some of :func:`networks`."""
    changed = {}
    for name, params in parameters.items():
        value = getattr(agent, name)
        state = isinstance(value, TrainState)
        changed[name] = value.replace(params=params) if state else params
    return agent.replace(**changed)


def noisy(params, seed, size=0.1):
    """Parameters with independent noise on every number."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda x: np.asarray(x + size * rng.standard_normal(x.shape), np.float32), params
    )


def untied(agent):
    """The agent with targets and averages that differ from their networks, as in a long run.

    A fresh agent's copies equal their networks, so that it cannot tell one from the other.
    """
    changed = {
        name: noisy(params, seed) for seed, (name, params) in enumerate(networks(agent).items())
    }
    return with_networks(agent, changed)


def reads(agent, function) -> dict[str, set[str]]:
    """Of each output of ``function(agent)``, by name: which of :func:`networks` it depends on."""
    compiled = jax.jit(function)
    before = compiled(agent)
    result = {name: set() for name in before}
    for network, params in networks(agent).items():
        after = compiled(with_networks(agent, {network: noisy(params, 77, 0.3)}))
        for name in before:
            if differs(before[name], after[name]):
                result[name].add(network)
    return result


def raw(agent, spec, lead=(1, 16), seed=0, *, interventions=0.5):
    """A batch as a replay gives it, with the columns that the agent asks for."""
    return fake_batch(spec, lead, seed, interventions, agent.config.columns)


def rows(agent, spec, lead=(16,), *, interventions=0.5, seed=0):
    """A prepared batch: what losses take."""
    return agent.prepare(raw(agent, spec, lead, seed, interventions=interventions))


def prepared(agent, spec, *, seed=0):
    """A prepared observation of 16 rows."""
    return agent.normalizer.prepare(fake_batch(spec, (16,), seed).observation)


def differs(left, right):
    """Whether any number of two trees differs."""
    return any(
        bool((np.asarray(a) != np.asarray(b)).any())
        for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    )


def close(left, right, rtol=1e-4, atol=1e-6):
    """Raise where two trees are not nearly equal."""
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)
