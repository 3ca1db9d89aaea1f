"""ConRFT: the one-step action, the weights of its two stages, what is cloned, its presets."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from silri.agents.conrft import PRESETS
from silri.core.specs import ActionSpec
from silri.core.transition import fake_batch
from silri.nn.consistency import K_MAX
from tests.agents.small import differs, prepared, rows, untied
from tests.agents.small import make as make_agent
from tests.conftest import make_spec

KEY = jax.random.key(3)


def make(spec, preset="default", **fields):
    return make_agent(spec, "conrft", preset, **fields)


def test_an_action_is_one_step_from_noise_and_inside_the_box(spec):
    agent = untied(make(spec))
    seen = prepared(agent, spec)
    noise = 3.0 * jax.random.normal(KEY, (5, 16, 3))
    actions = agent.sample(seen, noise)
    raw = agent.actor(seen, K_MAX * noise[2], jnp.full(16, K_MAX))
    np.testing.assert_allclose(actions[2], jnp.clip(raw, -1.0, 1.0), rtol=1e-5, atol=1e-6)
    assert float(jnp.abs(actions).max()) <= 1.0
    drawn = [agent.policy(seen, jax.random.key(k), explore=True)[0] for k in (0, 1)]
    assert differs(*drawn)
    middle = agent.mean_action(seen)
    np.testing.assert_array_equal(middle, agent.policy(seen, KEY, explore=False)[0])


@pytest.mark.parametrize("stage", ["offline", "online"])
def test_the_actor_weighs_cloning_and_worth_by_its_stage(spec, stage):
    weights = {"offline": (2.0, 3.0), "online": (5.0, 7.0)}
    fields = {
        f"{s}_{n}": w
        for s, pair in weights.items()
        for n, w in zip(("cloning", "q"), pair, strict=True)
    }
    agent = make(spec, **fields)
    loss, info = agent.actor_loss(agent.actor.params, rows(agent, spec), KEY, stage)
    beta, eta = weights[stage]
    assert loss == pytest.approx(
        float(beta * info["actor/cloning"] - eta * info["actor/q"]), rel=1e-5
    )


def test_the_worth_of_a_sample_reaches_the_head_through_the_sampler(spec):
    agent = make(spec, online_cloning=0.0)
    batch = rows(agent, spec)
    gradient = jax.grad(lambda p: agent.actor_loss(p, batch, KEY, "online")[0])(agent.actor.params)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient["Dense_0"]))


def test_only_what_a_person_did_is_cloned_unless_all_rows_are(spec):
    def cloning(agent, **changes):
        batch = rows(agent, spec, interventions=0.5)._replace(**changes)
        return float(agent.actor_loss(agent.actor.params, batch, KEY, "online")[1]["actor/cloning"])

    base = rows(make(spec), spec, interventions=0.5)
    own = np.asarray(base.is_intervention) == 0
    moved = np.where(own[:, None], -base.human_action, base.human_action)
    agent = make(spec)
    assert cloning(agent) == cloning(agent, human_action=moved)
    everybody = make(spec, clone="all")
    moved = np.where(own[:, None], -base.action, base.action)
    assert cloning(everybody) != cloning(everybody, action=moved)
    assert cloning(agent, is_intervention=np.zeros(16, np.float32)) == 0.0


def test_a_head_outside_the_box_finds_back_unless_the_clipped_action_is_cloned(spec):
    def pull(clip):
        agent = make(spec, clip_cloning=clip, online_q=0.0)
        far = agent.actor.params | {
            "Dense_0": {
                "kernel": 0.0 * agent.actor.params["Dense_0"]["kernel"],
                "bias": jnp.full((3,), 1e4),
            }
        }
        batch = rows(agent, spec, interventions=1.0)
        return jax.grad(lambda p: agent.actor_loss(p, batch, KEY, "online")[0])(far)

    assert float(jnp.abs(pull(clip=True)["Dense_0"]["bias"]).max()) == 0.0
    assert float(pull(clip=False)["Dense_0"]["bias"].min()) > 0.0


def test_the_regulariser_is_there_offline_only_and_its_floor_is_the_return(spec):
    agent = make(spec, candidates=2)
    batch = rows(agent, spec)
    _, online = agent.critic_loss(agent.critic.params, batch, KEY)
    _, offline = agent.offline_critic_loss(agent.critic.params, batch, KEY)
    assert "critic/conservative" not in online
    high = batch._replace(columns={"mc_return": np.full(16, 1e3, np.float32)})
    _, floored = agent.offline_critic_loss(agent.critic.params, high, KEY)
    assert floored["critic/floored"] == 1.0
    assert floored["critic/conservative"] > 100.0
    assert offline["critic/conservative"] < 100.0
    _, cql = make(spec, candidates=2, calibrated=False).offline_critic_loss(
        agent.critic.params, high, KEY
    )
    assert cql["critic/floored"] == 0.0


def test_offline_and_online_updates_learn_with_a_continuous_gripper_too():
    spec = make_spec(ActionSpec(4))
    agent = make(spec, candidates=2)
    batch = fake_batch(spec, (2, 16), columns=("mc_return",), interventions=1.0)
    for stage in ("offline", "online"):
        after, info = agent.update(batch, stage)
        assert differs(agent.critic.params, after.critic.params)
        assert differs(agent.actor.params, after.actor.params)
        assert all(np.isfinite(value) for value in info.values())
        assert after.gripper is None
        agent = after


def test_cloning_alone_learns_what_the_person_does(spec):
    agent = make(spec, online_q=0.0, learning_rate=3e-3, average_rate=1.0)
    batch = fake_batch(spec, (1, 16), interventions=1.0)
    batch = batch._replace(human_action=np.full_like(batch.human_action, 0.5))
    for _ in range(150):
        agent, info = agent.update(batch)
    assert info["actor/squared_error"] < 0.02
    np.testing.assert_allclose(
        agent.act_deterministic({k: v[0] for k, v in batch.observation.items()})[:, :3],
        0.5,
        atol=0.15,
    )


def test_the_published_presets_have_the_published_weights():
    def weights(name):
        config = PRESETS[name].config
        return (
            config.conservative,
            (config.offline_cloning, config.offline_q),
            (config.online_cloning, config.online_q),
        )

    assert weights("paper") == (0.01, (1.0, 0.1), (0.5, 1.0))
    assert weights("scripts") == (0.1, (1.0, 0.0), (0.1, 1.0))
    for name in ("paper", "scripts"):
        config = PRESETS[name].config
        assert (config.batch_size, config.discount, config.n_step) == (256, 0.98, 1)
        assert (config.regularised, config.clone, config.clip_cloning) == (1.0, "all", True)
        assert [stage.updates for stage in config.stages] == [20_000, None]
    assert all(preset.config.stages[-1].reset_optimisers for preset in PRESETS.values())
