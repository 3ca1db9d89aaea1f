"""HIL-SERL: the double-DQN grasp critic, the separation of networks, its options."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from silri.agents.hil_serl import DEFAULT, HILSERLAgent
from silri.core.errors import ConfigError
from silri.core.transition import fake_batch
from silri.nn.mlp import Trunk
from tests.agents.small import differs

CONFIG = replace(DEFAULT, trunk=Trunk(hidden=(16, 16)), batch_size=16)


def make(spec, **fields):
    return HILSERLAgent.create(replace(CONFIG, **fields), spec, None, 0)


def test_the_grasp_target_takes_the_online_argmax_and_the_target_value(spec):
    agent = make(spec)
    # A target network that ranks commands the other way round.
    agent = agent.replace(target_grasp=jax.tree.map(lambda leaf: -leaf, agent.grasp.params))
    batch = fake_batch(spec, (16,))._replace(mask=np.ones(16, np.float32))
    features = agent.normalizer.features(batch.observation)
    following = agent.normalizer.features(batch.next_observation)
    online, target = agent.grasp(following), agent.grasp(following, params=agent.target_grasp)
    best = jnp.argmax(online, axis=-1)
    value = target[jnp.arange(16), best]
    y = batch.reward + batch.grasp_penalty + agent.config.discount * value
    command = (batch.action[:, 3] > 0).astype(int)
    q = agent.grasp(features)[np.arange(16), command]
    loss, _ = agent.grasp_loss(agent.grasp.params, features, following, batch)
    assert loss == pytest.approx(float(jnp.mean((q - y) ** 2)), rel=1e-5)
    assert not np.allclose(value, target.max(axis=-1))


def test_the_penalty_reaches_the_grasp_critic_only(spec):
    agent = make(spec)
    batch = fake_batch(spec, (16,))
    free = batch._replace(grasp_penalty=np.zeros(16, np.float32))
    features = agent.normalizer.features(batch.observation)
    key = jax.random.key(0)

    def critic(rows):
        return agent.critic_loss(agent.critic.params, features, features, rows, key)[0]

    def grasp(rows):
        return agent.grasp_loss(agent.grasp.params, features, features, rows)[0]

    assert critic(batch) == critic(free)
    assert grasp(batch) != grasp(free)


def test_critic_updates_leave_actor_and_temperature_alone(spec):
    agent = make(spec)
    batch = fake_batch(spec, (16,))
    features = agent.normalizer.features(batch.observation)
    after, _ = agent.update_critics(features, features, batch, jax.random.key(0))
    assert differs(agent.critic.params, after.critic.params)
    assert differs(agent.grasp.params, after.grasp.params)
    assert not differs(agent.actor, after.actor)
    assert not differs(agent.temperature, after.temperature)


def test_the_temperature_rises_when_entropy_is_short(spec):
    agent = make(spec)
    target = -0.5 * spec.action.size
    for entropy, sign in ((target - 1.0, -1.0), (target + 1.0, 1.0)):
        gradient = jax.grad(
            lambda params, h=entropy: agent.temperature_loss(params, jnp.asarray(h))[0]
        )(agent.temperature.params)
        assert float(jax.tree.leaves(gradient)[0]) * sign > 0


def test_the_entropy_backup_does_not_touch_terminal_steps(spec):
    batch = fake_batch(spec, (16,))._replace(mask=np.zeros(16, np.float32))
    targets = []
    for backup in (False, True):
        agent = make(spec, entropy_backup=backup, initial_temperature=1.0)
        features = agent.normalizer.features(batch.observation)
        info = agent.critic_loss(agent.critic.params, features, features, batch, jax.random.key(0))[
            1
        ]
        targets.append(float(info["critic/target"]))
    assert targets[0] == targets[1] == pytest.approx(float(batch.reward.mean()), rel=1e-5)


def test_a_state_ensemble_needs_an_encoder_and_then_learns(spec):
    with pytest.raises(
        ConfigError, match=r"agent\.state_ensemble takes False unless agent\.encoder"
    ):
        replace(CONFIG, state_ensemble=True)
    agent = make(spec, encoder=(8,), state_ensemble=True, critics=3)
    after, info = agent.update(fake_batch(spec, (2, 16)))
    assert differs(agent.critic.params, after.critic.params)
    assert np.isfinite(info["critic/loss"])


def test_cloning_pulls_the_actor_towards_the_person(spec):
    agent = make(spec, bc_weight=50.0, learning_rate=3e-3)
    batch = fake_batch(spec, (2, 16), interventions=1.0)
    agent, first = agent.update(batch)
    for _ in range(60):
        agent, last = agent.update(batch)
    assert last["actor/cloning"] < 0.7 * first["actor/cloning"]


def test_asked_to_it_learns_from_demonstrations_before_the_first_episode(spec):
    agent = make(spec)
    after, info = agent.pretrain(fake_batch(spec, (3, 16)))
    for name in ("actor", "critic", "grasp", "temperature"):
        assert differs(getattr(agent, name), getattr(after, name)), name
    assert differs(agent.target_critic, after.target_critic)
    assert int(after.iterations) == 0
    assert np.isfinite(info["critic/loss"])
    one, _ = after.update(fake_batch(spec, (2, 16)))
    assert not differs(one.actor.params, one.average_actor)  # random weights are in no average
