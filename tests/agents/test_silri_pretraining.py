"""What SiLRI learns before the first episode."""

from __future__ import annotations

import numpy as np

from silri.agents.silri import PRESETS
from silri.core.transition import fake_batch
from silri.nn.actions import continuous_part
from tests.agents.small import differs, make


def test_pretraining_clones_and_sets_every_copy_of_the_actor(spec):
    agent = make(spec)
    batch = fake_batch(spec, (20, 16), interventions=1.0)
    after, info = agent.pretrain(batch)
    assert differs(agent.actor.params, after.actor.params)
    assert not differs(after.actor.params, after.target_actor)
    assert not differs(after.actor.params, after.average_actor)
    assert not differs(after.expert.params, after.average_expert)
    assert not differs(after.gripper.params, after.average_gripper)
    assert not differs(agent.multiplier, after.multiplier)
    assert int(after.iterations) == 0
    assert info["gripper/accuracy"] <= 1.0


def test_pretraining_moves_the_critic_only_if_it_is_asked_to(spec):
    batch = fake_batch(spec, (20, 16), interventions=1.0)
    for asked in (True, False):
        agent = make(spec, pretrain_critic=asked)
        after, info = agent.pretrain(batch)
        assert bool(differs(agent.critic.params, after.critic.params)) is asked
        assert bool(differs(agent.target_critic, after.target_critic)) is asked
        assert ("critic/loss" in info) is asked
    assert not PRESETS["released"].config.pretrain_critic


def test_a_critic_that_has_seen_demonstrations_tells_good_from_bad_actions(spec):
    agent = make(spec, learning_rate=3e-3, pretrain_critic=True)
    batch = fake_batch(spec, (50, 64), interventions=1.0)
    good = batch.action[..., 0] > 0
    reward = good.astype(np.float32)
    batch = batch._replace(reward=reward, mask=np.zeros_like(batch.mask))
    for _ in range(4):
        agent, _ = agent.pretrain(batch)
    features, _ = agent.encode(batch)
    actions = continuous_part(agent.action_spec, batch.action)[-1]
    q = np.asarray(agent.critic(features[-1], actions).min(axis=0))
    assert q[good[-1]].mean() > q[~good[-1]].mean() + 0.3
