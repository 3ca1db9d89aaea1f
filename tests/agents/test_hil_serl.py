"""HIL-SERL: the double-DQN grasp critic, the separation of networks, its options."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from silri.agents.hil_serl import DEFAULT
from silri.core.errors import ConfigError
from silri.core.transition import fake_batch
from tests.agents.small import differs, rows
from tests.agents.small import make as make_agent


def make(spec, **fields):
    return make_agent(spec, "hil_serl", **fields)


def test_the_grasp_target_takes_the_online_argmax_and_the_target_value(spec):
    agent = make(spec)
    # A target network that ranks commands the other way round.
    agent = agent.replace(target_grasp=jax.tree.map(lambda leaf: -leaf, agent.grasp.params))
    batch = rows(agent, spec)._replace(mask=np.ones(16, np.float32))
    features, following = batch.observation, batch.next_observation
    online, target = agent.grasp(following), agent.grasp(following, params=agent.target_grasp)
    best = jnp.argmax(online, axis=-1)
    value = target[jnp.arange(16), best]
    y = batch.reward + batch.grasp_penalty + agent.config.discount * value
    command = (batch.action[:, 3] > 0).astype(int)
    q = agent.grasp(features)[np.arange(16), command]
    loss, _ = agent.grasp_loss(agent.grasp.params, batch)
    assert loss == pytest.approx(float(jnp.mean((q - y) ** 2)), rel=1e-5)
    assert not np.allclose(value, target.max(axis=-1))


def test_the_penalty_reaches_the_grasp_critic_only(spec):
    agent = make(spec)
    batch = rows(agent, spec)
    free = batch._replace(grasp_penalty=np.zeros(16, np.float32))
    key = jax.random.key(0)

    def critic(chosen):
        return agent.critic_loss(agent.critic.params, chosen, key)[0]

    def grasp(chosen):
        return agent.grasp_loss(agent.grasp.params, chosen)[0]

    assert critic(batch) == critic(free)
    assert grasp(batch) != grasp(free)


def test_critic_updates_leave_actor_and_temperature_alone(spec):
    agent = make(spec)
    after, _ = agent.update_critics(rows(agent, spec), jax.random.key(0))
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
    targets = []
    for backup in (False, True):
        agent = make(spec, entropy_backup=backup, initial_temperature=1.0)
        batch = rows(agent, spec)._replace(mask=np.zeros(16, np.float32))
        _, info = agent.critic_loss(agent.critic.params, batch, jax.random.key(0))
        targets.append(float(info["critic/target"]))
    assert targets[0] == targets[1] == pytest.approx(float(batch.reward.mean()), rel=1e-5)


def test_a_state_ensemble_needs_an_encoder_and_then_learns(spec):
    with pytest.raises(
        ConfigError, match=r"agent\.state_ensemble takes False unless agent\.encoder"
    ):
        replace(DEFAULT, state_ensemble=True)
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


def test_a_cloned_start_is_of_actor_and_grasp_critic_alone(spec):
    agent = make(spec, preset="cloned", learning_rate=3e-3)
    row = fake_batch(spec, (16,), interventions=1.0)
    row = row._replace(human_action=np.tile(np.float32([0.5, 0.5, 0.5, 1.0]), (16, 1)))
    batch = jax.tree.map(lambda x: np.stack([x] * 60), row)
    first, _ = agent.update(batch, "clone")
    after, info = first.update(batch, "clone")
    assert info["actor/squared_error"] < 0.1
    assert not differs(agent.critic, after.critic)
    assert not differs(after.average_actor, after.actor.params)
    assert not differs(after.target_grasp, after.grasp.params)
    acted = after.act_deterministic(row.observation)
    np.testing.assert_allclose(acted, row.human_action, atol=0.2)
    assert int(after.iterations) == 0
    still, _ = after.update(jax.tree.map(np.zeros_like, batch), "clone")
    assert not differs(after.actor, still.actor)


def test_offline_the_critics_stay_in_the_data_if_asked(spec):
    def losses(stage, **fields):
        agent = make(spec, candidates=2, **fields)
        return agent.update_critics(rows(agent, spec), jax.random.key(0), stage)

    asked, info = losses("offline", conservative=0.5)
    assert 0.0 <= float(info["critic/floored"]) <= 1.0
    free, info = losses("offline")
    assert "critic/conservative" not in info
    assert differs(asked.critic.params, free.critic.params)
    assert differs(asked.grasp.params, free.grasp.params)
    online, info = losses("online", conservative=0.5)
    assert "critic/conservative" not in info
    assert not differs(online.critic.params, free.critic.params)
