"""The acceptance tests of SiLRI: signs, limits, gradients and masks of its losses."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from silri.agents.silri import PRESETS, SiLRIAgent
from silri.core.errors import ConfigError
from silri.core.transition import Batch, fake_batch
from silri.nn.distributions import normal_log_prob
from silri.nn.mlp import Trunk
from tests.agents.small import CONFIG, differs, make


def rows(spec, interventions=0.5, seed=0):
    return fake_batch(spec, (16,), seed, interventions)


@jax.jit
def multiplier_step(agent, features, batch):
    multiplier, _ = agent.multiplier.apply_loss(
        lambda params: agent.multiplier_loss(params, features, batch)
    )
    return agent.replace(multiplier=multiplier)


@pytest.mark.parametrize(("slack", "rises"), [(0.0, True), (50.0, False)])
def test_lambda_rises_above_the_bound_and_falls_below_it_to_zero_at_most(spec, slack, rises):
    agent = make(spec, slack=slack, kappa=0.0, multiplier_lr=1e-2)
    features = agent.normalizer.features(rows(spec).observation)
    means = [float(agent.multiplier_values(features).mean())]
    for _ in range(30):
        agent = multiplier_step(agent, features, rows(spec))
    means.append(float(agent.multiplier_values(features).mean()))
    assert bool(means[-1] > means[0]) == rises
    assert (agent.multiplier_values(features) >= 0).all()


def test_lambda_is_the_same_everywhere_at_first_and_state_wise_later(spec):
    agent = make(spec, initial_multiplier=0.6931472, multiplier_lr=1e-2, slack=0.3)
    features = agent.normalizer.features(rows(spec).observation)
    np.testing.assert_allclose(agent.multiplier_values(features), 0.6931472, rtol=1e-6)
    for step in range(20):
        agent, _ = agent.update(fake_batch(spec, (2, 16), step))
    assert agent.multiplier_values(features).std() > 1e-3
    scalar = agent.replace(config=replace(agent.config, multiplier="scalar"))
    np.testing.assert_allclose(np.ptp(scalar.multiplier_values(features)), 0.0, atol=1e-6)


def test_the_actor_loss_is_the_distance_at_infinity_and_minus_q_at_zero(spec):
    batch = rows(spec)
    agents = {mode: make(spec, multiplier=mode) for mode in ("infinite", "zero", "const")}
    features = agents["zero"].normalizer.features(batch.observation)
    loss = {}
    for mode, agent in agents.items():
        loss[mode], _ = agent.actor_loss(agent.actor.params, features, batch)
    agent = agents["zero"]
    actions = agent.actor(features)
    distance = agent.distance(actions, *agent.human(features)[:2]).mean()
    q = agent.critic(features, actions).min(axis=0).mean()
    assert loss["infinite"] == pytest.approx(float(distance), rel=1e-5)
    assert loss["zero"] == pytest.approx(-float(q), rel=1e-5)
    weight = agents["const"].config.initial_multiplier
    expected = (-float(q) + weight * float(distance)) / (1 + weight)
    assert loss["const"] == pytest.approx(expected, rel=1e-4)


def test_the_gradient_map(spec):
    """Who receives a gradient from which loss; everybody else receives exactly none."""
    agent = make(spec)
    batch = rows(spec)
    features = agent.normalizer.features(batch.observation)
    following = agent.normalizer.features(batch.next_observation)
    networks = ("critic", "actor", "expert", "multiplier", "gripper")

    def losses(parameters):
        changed = agent.replace(
            **{name: getattr(agent, name).replace(params=parameters[name]) for name in networks}
        )
        key = jax.random.key(0)
        return {
            "critic": changed.critic_loss(parameters["critic"], features, following, batch, key)[0],
            "actor": changed.actor_loss(parameters["actor"], features, batch)[0],
            "expert": changed.expert_loss(
                parameters["expert"], features, batch, jnp.asarray(batch.is_guidance)
            )[0],
            "multiplier": changed.multiplier_loss(parameters["multiplier"], features, batch)[0],
        }

    parameters = {name: getattr(agent, name).params for name in networks}
    jacobian = jax.jit(jax.jacrev(losses))(parameters)
    for loss, by_network in jacobian.items():
        for network, gradients in by_network.items():
            reached = any(bool((leaf != 0).any()) for leaf in jax.tree.leaves(gradients))
            assert reached == (loss == network), f"{loss} loss, {network} parameters"


def test_a_batch_without_a_person_moves_neither_the_expert_nor_the_gripper(spec):
    agent = make(spec)
    agent, _ = agent.update(fake_batch(spec, (2, 16), interventions=1.0))  # moments to move by
    after, info = agent.update(fake_batch(spec, (2, 16), 1, interventions=0.0))
    assert not differs(agent.expert, after.expert)
    assert not differs(agent.gripper, after.gripper)
    assert differs(agent.actor.params, after.actor.params)
    assert all(np.isfinite(value) for value in info.values())


def test_a_critic_update_moves_the_critic_and_the_targets_only(spec):
    agent = make(spec)
    batch = rows(spec)
    features = agent.normalizer.features(batch.observation)
    after, _ = agent.update_critic(features, features, batch, jax.random.key(0))
    assert differs(agent.critic.params, after.critic.params)
    assert differs(agent.target_critic, after.target_critic)
    for name in ("actor", "expert", "multiplier", "gripper", "average_actor"):
        assert not differs(getattr(agent, name), getattr(after, name)), name


def test_termination_stops_the_bootstrap_and_a_time_out_does_not(spec):
    agent = make(spec, target_action="mean")
    batch = rows(spec)._replace(reward=np.full(16, 0.25, np.float32))
    features = agent.normalizer.features(batch.observation)

    def target(mask):
        masked = batch._replace(mask=np.full(16, mask, np.float32))
        loss = agent.critic_loss(agent.critic.params, features, features, masked, jax.random.key(0))
        return loss[1]["critic/target"]

    assert target(0.0) == pytest.approx(0.25)
    following = agent.critic(features, agent.actor(features)).min(axis=0).mean()
    assert target(1.0) == pytest.approx(0.25 + agent.config.discount * float(following), rel=1e-4)


@pytest.mark.parametrize("mode", ["mean", "clipped_noise", "sample"])
def test_target_actions_stay_inside_the_box(spec, mode):
    agent = make(spec, target_action=mode, explore_std=5.0, target_noise=5.0)
    features = 50.0 * agent.normalizer.features(rows(spec).observation)
    actions = agent.target_actions(features, jax.random.key(0))
    assert (jnp.abs(actions) <= 1.0).all()


def test_released_calls_a_variance_what_paper_calls_a_deviation(spec):
    released, paper = (
        SiLRIAgent.create(
            replace(PRESETS[name].config, trunk=Trunk(hidden=(16, 16))), spec, None, 0
        )
        for name in ("released", "paper")
    )
    features = released.normalizer.features(rows(spec).observation)
    _, scale = released.expert(features)
    _, std, _ = released.human(features)
    np.testing.assert_allclose(std**2, scale, rtol=1e-5)
    np.testing.assert_allclose(released.allowed(std), scale.sum(-1) + 0.2, rtol=1e-5)
    _, scale = paper.expert(features)
    np.testing.assert_allclose(paper.human(features)[1], scale, rtol=1e-6)
    np.testing.assert_allclose(paper.allowed(scale), 6 * scale.mean(-1) + 0.1, rtol=1e-5)
    actions, mean = jnp.asarray([[0.3, 0.4, 0.0]]), jnp.zeros((1, 3))
    std = jnp.full((1, 3), 0.1)
    assert released.distance(actions, mean, std)[0] == pytest.approx(0.5)
    assert paper.distance(actions, mean, std)[0] == pytest.approx(0.25)
    assert normal_log_prob(actions, mean, jnp.full((1, 3), 0.05**0.5))[0] == pytest.approx(
        -0.5 * 0.25 / 0.05 - 1.5 * np.log(2 * np.pi * 0.05), rel=1e-5
    )


def _two_regions(spec, seed, count=256):
    """Left the person always does 0.5; right, 0.5 give or take 0.6."""
    rng = np.random.default_rng(seed)
    batch = fake_batch(spec, (count,), seed, interventions=1.0)
    noisy = rng.random(count) < 0.5
    side = np.where(noisy, 1.0, -1.0).astype(np.float32)
    observation = {key: np.zeros_like(value) for key, value in batch.observation.items()}
    observation["state"][:, 0] = side
    action = np.full((count, 4), 0.5, np.float32)
    action[:, :3] += np.where(noisy[:, None], rng.normal(0, 0.6, (count, 3)), 0.02).astype(
        np.float32
    )
    return batch._replace(observation=observation, action=action, human_action=action)


def _tile(batch: Batch, updates: int) -> Batch:
    return jax.tree.map(lambda x: np.stack([x] * updates), batch)


def test_the_expert_learns_where_the_person_is_sure_and_lambda_ends_larger_there(spec):
    agent = make(spec, multiplier_lr=1e-2, learning_rate=3e-3, kappa=1.0, expert_rate=0.05)
    for seed in range(6):
        agent, _ = agent.update_guidance(_tile(_two_regions(spec, seed), 50))
    left, right = (
        {key: np.zeros((1, *v.shape), np.float32) for key, v in spec.observation.items()}
        for _ in "ab"
    )
    left["state"][:, 0], right["state"][:, 0] = -1.0, 1.0
    sure, unsure = (agent.normalizer.features(side) for side in (left, right))
    mean, std, _ = agent.human(sure)
    np.testing.assert_allclose(mean, 0.52, atol=0.08)
    assert std.max() < 0.15
    assert agent.human(unsure)[1].mean() == pytest.approx(0.6, abs=0.15)
    batch = _two_regions(spec, 9)
    features = agent.normalizer.features(batch.observation)
    for _ in range(40):
        agent = multiplier_step(agent, features, batch)
    assert agent.multiplier_values(sure)[0] > 2 * agent.multiplier_values(unsure)[0]


def test_bursts_are_owed_per_fifty_new_steps(spec):
    burst = make(spec, expert_schedule="burst")
    assert [burst.guidance_updates_owed(*pair) for pair in ((0, 49), (49, 51), (51, 170))] == [
        0,
        50,
        100,
    ]
    assert make(spec).guidance_updates_owed(0, 1000) == 0
    after, _ = burst.update(fake_batch(spec, (2, 16), interventions=1.0))
    assert not differs(burst.expert, after.expert)


def test_diagnostics_say_why(spec):
    agent = make(spec)
    observation = {key: np.zeros(v.shape, np.float32) for key, v in spec.observation.items()}
    action, diagnostics = agent.act(observation, episode=3, step=1, explore=True)
    again, _ = agent.act(observation, episode=3, step=1, explore=True)
    other, _ = agent.act(observation, episode=3, step=2, explore=True)
    np.testing.assert_array_equal(action, again)
    assert (action[:3] != other[:3]).any()
    assert sorted(diagnostics) == SiLRIAgent.diagnostic_names(agent.config, spec)
    assert {"lambda", "bound", "distance", "q_policy", "q_human", "human_mean.0"} <= set(
        diagnostics
    )
    assert diagnostics["lambda"] == pytest.approx(1.0)


def test_novelty_is_large_where_nobody_has_shown_anything(spec):
    agent = make(spec, experts=4, learning_rate=3e-3, expert_rate=0.05, expert_decay=0.0)
    for seed in range(4):
        agent, _ = agent.update_guidance(_tile(_two_regions(spec, seed), 50))

    def human(x, others=0.0):
        observation = {
            key: np.full((1, *array.shape), others, np.float32)
            for key, array in spec.observation.items()
        }
        observation["state"][:, 0] = x
        return agent.human(agent.normalizer.features(observation))

    (_, sure, known), (_, unsure, noisy) = human(-1.0), human(1.0)
    _, _, nowhere = human(2.0, others=2.0)
    assert unsure.mean() > 4 * sure.mean()  # inconsistent, but known:
    assert nowhere[0] > 4 * max(known[0], noisy[0])
    loose = agent.replace(config=replace(agent.config, novelty_weight=1.0))
    gain = loose.allowed(sure, known) - agent.allowed(sure, known)
    np.testing.assert_allclose(gain, known, rtol=1e-3, atol=1e-6)


def test_scaled_by_its_slope_the_reward_scale_does_not_matter(spec):
    """The actor's loss with all rewards, so Q and its slope, times ten is the same but for Q."""
    agent = make(spec, q_scale="slope")
    batch = rows(spec)
    features = agent.normalizer.features(batch.observation)

    def scaled(factor):
        critic = jax.tree.map(lambda x: x, agent.critic.params)
        last = critic["VmapCritic_0" if "VmapCritic_0" in critic else next(iter(critic))]["Dense_0"]
        last["kernel"], last["bias"] = last["kernel"] * factor, last["bias"] * factor
        changed = agent.replace(critic=agent.critic.replace(params=critic))
        slope = changed.actor_loss(changed.actor.params, features, batch)[1]["critic/slope"]
        changed = changed.replace(q_slope=slope)
        return changed, jax.grad(lambda p: changed.actor_loss(p, features, batch)[0])(
            changed.actor.params
        )

    (one, left), (ten, right) = scaled(1.0), scaled(10.0)
    assert float(ten.q_slope / one.q_slope) == pytest.approx(10.0, rel=1e-3)
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)


def test_guidance_that_the_critic_finds_worse_weighs_less(spec):
    agent = make(spec, advantage_scale=0.1)
    batch = rows(spec)._replace(is_guidance=np.ones(16, np.float32))
    features = agent.normalizer.features(batch.observation)
    weight = agent.guidance_weights(features, batch)
    own = agent.actor(features, params=agent.average_actor)
    taken = agent.critic(features, jnp.asarray(batch.human_action[:, :3])).min(0)
    advantage = taken - agent.critic(features, own).min(0)
    np.testing.assert_array_equal(weight[advantage >= 0], 1.0)
    assert (weight[advantage < -0.05] < 0.7).all()
    assert weight.min() >= 0.05
    none = agent.guidance_weights(features, batch._replace(is_guidance=np.zeros(16, np.float32)))
    np.testing.assert_array_equal(none, 0.0)


def test_own_successes_train_the_expert_and_the_gripper(spec):
    agent = make(spec)
    batch = fake_batch(spec, (2, 16), interventions=0.0)
    after, _ = agent.update(batch._replace(is_guidance=np.ones((2, 16), np.float32)))
    assert differs(agent.expert.params, after.expert.params)
    assert differs(agent.gripper.params, after.gripper.params)


def test_what_acts_is_averaged_and_none_where_it_is_not(spec):
    agent, _ = make(spec).update(fake_batch(spec, (2, 16), interventions=1.0))
    for online, average in (
        (agent.expert.params, agent.average_expert),
        (agent.gripper.params, agent.average_gripper),
        (agent.actor.params, agent.average_actor),
    ):
        assert differs(online, average)
    first = SiLRIAgent.create(
        replace(PRESETS["first"].config, trunk=Trunk(hidden=(16, 16))), spec, None, 0
    )
    assert first.average_expert is first.average_gripper is first.q_slope is None


def test_coarse_multipliers_move_faster_than_the_fine_one(spec):
    batch = rows(spec)
    moved = {}
    for mode in ("state", "groups"):
        agent = make(spec, multiplier=mode, slack=50.0)
        features = agent.normalizer.features(batch.observation)
        before = agent.multiplier_values(features)
        for _ in range(5):
            agent = multiplier_step(agent, features, batch)
        moved[mode] = float(jnp.abs(agent.multiplier_values(features) - before).mean())
    assert moved["groups"] > 3 * moved["state"]


def test_the_default_constraint_is_the_divergence_of_two_gaussians_with_the_persons_deviation(spec):
    """KL(N(pi, sigma^2) || N(mu, sigma^2)) <= 0.1 nats per dimension, whatever the spread."""
    agent = make(spec)
    features = agent.normalizer.features(rows(spec).observation)
    mean, std, _ = agent.human(features)
    actions = agent.actor(features)
    divergence = normal_log_prob(actions, actions, std) - normal_log_prob(
        actions, mean, std
    )  # of Gaussians with one deviation: the log ratio at the mean
    assert (std > agent.config.least_deviation).all()
    np.testing.assert_allclose(agent.distance(actions, mean, std), divergence, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(agent.allowed(std), 0.1 * actions.shape[-1], rtol=1e-6)


def test_it_asks_a_share_of_the_time_where_the_critics_disagree(spec):
    agent = make(spec, ask_fraction=0.25, learning_rate=1e-12)
    batch = fake_batch(spec, (1, 16), 0)
    batch = jax.tree.map(lambda x: jnp.repeat(x, 2, axis=0), batch)
    for _ in range(300):
        agent, _ = agent.update(batch)
    features = agent.normalizer.features(batch.observation)[0]
    _, diagnostics = agent.policy(features, jax.random.key(0), explore=False)
    asked = np.asarray(diagnostics["ask"], bool)
    driven = batch.is_intervention[0] == 0  # the share is of the robot's own steps
    assert asked[driven].mean() == pytest.approx(0.25, abs=0.13)  # one row of eight
    q = np.asarray(agent.critic(features, agent.actor(features)))
    doubts = q.max(axis=0) - q.min(axis=0)
    assert doubts[asked].min() > doubts[~asked].max()
    never = make(spec).policy(features, jax.random.key(0), explore=False)[1]
    assert "ask" not in never


@pytest.mark.parametrize(
    ("rate", "tail", "expected"),
    [(0.1, 0.0, [0.1, 0.1, 0.1]), (0.1, 2.0, [0.1, 0.1, 0.01]), (1.0, 0.0, [1.0, 1.0, 1.0])],
)
def test_the_average_covers_a_growing_window(spec, rate, tail, expected):
    agent = make(spec, average_rate=rate, average_tail=tail)
    rates = [
        float(agent.replace(iterations=jnp.asarray(done, jnp.int32)).averaging())
        for done in (0, 19, 199)
    ]
    assert rates == pytest.approx(expected, rel=1e-6)
    step, _ = agent.update(fake_batch(spec, (2, 16)))
    for new, old, average in zip(
        jax.tree.leaves(step.actor.params),
        jax.tree.leaves(agent.average_actor),
        jax.tree.leaves(step.average_actor),
        strict=True,
    ):
        np.testing.assert_allclose(average, rate * new + (1 - rate) * old, rtol=1e-4, atol=1e-6)


def test_a_tail_needs_an_average():
    with pytest.raises(ConfigError, match=r"agent\.average_tail takes .* got 2\.0"):
        replace(CONFIG, average_rate=1.0)
