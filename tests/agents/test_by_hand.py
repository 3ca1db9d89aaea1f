"""Losses written out once more: which action, row, mask and key of a batch enters where.

Golden numbers (:mod:`tests.agents.test_wiring`) say that something changed; these say what is
wrong. In what ``fake_batch`` draws the person asked for what was executed: here they differ.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from silri.agents.losses import conservative
from silri.core.transition import fake_batch
from silri.nn.actions import continuous_part
from silri.nn.consistency import draw_levels, weight
from silri.nn.distributions import squashed_sample
from tests.agents.small import close, differs, make, rows, untied

KEY = jax.random.key(5)
OVER = {"min": lambda q: q.min(axis=0), "mean": lambda q: q.mean(axis=0)}


def batch_of(agent, spec):
    """Rows of both drivers, ends among them, where the person asked for something else."""
    batch = rows(agent, spec, interventions=0.5)
    mask = np.tile(np.float32([1, 0, 1, 1]), 4)
    return batch._replace(mask=mask, human_action=-batch.action)


def sampled(agent, observation, key):
    """The policy's action at each of 16 rows, and its log-probability if it has one."""
    if type(agent).__name__ == "ConRFTAgent":
        return agent.sample(observation, agent.noise(key, 16)), None
    return squashed_sample(key, *agent.actor(observation))


@pytest.mark.parametrize("name", ["silri", "hil_serl", "conrft"])
def test_a_critic_learns_what_was_executed_whatever_the_person_asked_for(spec, name):
    agent = make(spec, name)
    batch = batch_of(agent, spec)

    def loss(**fields):
        return float(agent.critic_loss(agent.critic.params, batch._replace(**fields), KEY)[0])

    assert loss(human_action=batch.action) == loss()
    assert loss(action=batch.human_action) != loss()


@pytest.mark.parametrize("name", ["silri", "conrft"])
def test_a_gripper_learns_what_the_person_asked_for(spec, name):
    agent = make(spec, name, utd=1)
    raw = fake_batch(spec, (1, 16), columns=agent.config.columns)._replace(
        is_intervention=np.ones((1, 16), np.float32)
    )
    after, _ = agent.update(raw)
    executed, _ = agent.update(raw._replace(action=-raw.action))
    asked, _ = agent.update(raw._replace(human_action=-raw.human_action))
    assert not differs(after.gripper.params, executed.gripper.params)
    assert differs(after.gripper.params, asked.gripper.params)


@pytest.mark.parametrize("over", ["min", "mean"])
@pytest.mark.parametrize("name", ["hil_serl", "conrft"])
def test_a_target_bootstraps_where_the_mask_says_from_the_ensembles_min_or_mean(spec, name, over):
    agent = untied(make(spec, name, target_q=over))
    batch = batch_of(agent, spec)
    actions, _ = sampled(agent, batch.next_observation, KEY)
    q = agent.critic(batch.next_observation, actions, params=agent.target_critic)
    target = batch.reward + agent.config.discount * batch.mask * OVER[over](q)
    _, info = agent.critic_loss(agent.critic.params, batch, KEY)
    assert float(info["critic/target"]) == pytest.approx(float(target.mean()), rel=1e-4)
    assert not np.allclose(OVER["min"](q), OVER["mean"](q), rtol=1e-2)


@pytest.mark.parametrize("over", ["min", "mean"])
def test_hil_serl_s_actor_wants_worth_and_entropy(spec, over):
    agent = untied(make(spec, "hil_serl", actor_q=over, initial_temperature=1.0))
    batch = batch_of(agent, spec)
    actions, log_prob = sampled(agent, batch.observation, KEY)
    q = OVER[over](agent.critic(batch.observation, actions))
    wanted = -jnp.mean(q - agent.temperature() * log_prob)
    loss, _ = agent.actor_loss(agent.actor.params, batch, KEY)
    assert float(loss) == pytest.approx(float(wanted), rel=1e-4)


def test_hil_serl_s_cloning_term_is_of_the_person_s_rows(spec):
    agent = make(spec, "hil_serl", bc_weight=1.0)
    batch = batch_of(agent, spec)
    own = np.asarray(batch.is_intervention)[:, None] == 0

    def cloning(human_action):
        changed = batch._replace(human_action=human_action)
        return float(agent.actor_loss(agent.actor.params, changed, KEY)[1]["actor/cloning"])

    base = cloning(batch.human_action)
    assert cloning(np.where(own, -batch.human_action, batch.human_action)) == base
    assert cloning(np.where(own, batch.human_action, -batch.human_action)) != base


@pytest.mark.parametrize("over", ["min", "mean"])
def test_conrft_clones_by_noise_level_and_is_judged_by_a_draw_of_its_own(spec, over):
    agent = untied(make(spec, "conrft", actor_q=over))
    batch = batch_of(agent, spec)
    of_level, of_noise, of_sample = jax.random.split(KEY, 3)
    level = draw_levels(of_level, (16,))
    human = continuous_part(agent.action_spec, batch.human_action)
    noisy = human + level[:, None] * agent.noise(of_noise, 16)
    error = jnp.mean((agent.actor(batch.observation, noisy, level) - human) ** 2, axis=-1)
    person = batch.is_intervention
    cloning = jnp.sum(weight(level) * error * person) / person.sum()
    _, info = agent.actor_loss(agent.actor.params, batch, KEY, "online")
    assert float(info["actor/cloning"]) == pytest.approx(float(cloning), rel=1e-3)

    def worth(key):
        actions, _ = sampled(agent, batch.observation, key)
        return float(OVER[over](agent.critic(batch.observation, actions)).mean())

    assert float(info["actor/q"]) == pytest.approx(worth(of_sample), rel=1e-4)
    # With the noise of the cloned rows both losses would look at one corner of the noise.
    assert worth(of_noise) != pytest.approx(worth(of_sample), rel=1e-3)


@pytest.mark.parametrize("name", ["hil_serl", "conrft"])
def test_candidates_are_of_here_and_of_there_and_a_floor_is_its_row_s(spec, name):
    agent = untied(make(spec, name, candidates=1))
    batch = batch_of(agent, spec)
    returns = np.linspace(-0.5, 0.5, 16, dtype=np.float32)
    batch = batch._replace(columns={"mc_return": returns})
    uniform, here, there = jax.random.split(KEY, 3)
    executed = continuous_part(agent.action_spec, batch.action)
    tried = [
        jax.random.uniform(uniform, (1, 16, 3), minval=-1.0, maxval=1.0)[0],
        sampled(agent, batch.observation, here)[0],
        sampled(agent, batch.next_observation, there)[0],
    ]
    q, *others = (agent.critic(batch.observation, actions) for actions in (executed, *tried))
    wanted, _ = conservative(q, jnp.stack(others, axis=1), returns)
    loss, _ = agent.regulariser(agent.critic.params, batch, KEY)
    assert float(loss) == pytest.approx(float(wanted), rel=1e-4)


def test_each_step_of_cloning_has_a_key_of_its_own(spec):
    agent = make(spec, "hil_serl", "cloned")
    raw = fake_batch(spec, (2, 16), interventions=1.0, columns=agent.config.columns)
    after, _ = agent.update(raw, "clone")
    batch, keys = agent.prepare(raw), jax.random.split(agent.update_key(), 2)

    @jax.jit
    def cloned(actor, first, second):
        for step, key in enumerate((first, second)):
            row = jax.tree.map(lambda x, u=step: x[u], batch)
            actor, _ = actor.apply_loss(lambda params, r=row, k=key: agent.clone_loss(params, r, k))
        return actor.params

    close(after.actor.params, cloned(agent.actor, *keys))
    assert differs(after.actor.params, cloned(agent.actor, keys[0], keys[0]))
