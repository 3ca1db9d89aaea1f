"""The acceptance tests of SiLRI: signs, limits, gradients and masks of its losses."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from silri.agents import losses
from silri.agents.exploring import RATE, alone
from silri.agents.silri import SiLRIAgent
from silri.core.transition import Batch, fake_batch
from silri.nn.actions import continuous_part
from silri.nn.constraint import CONSTRAINTS
from silri.nn.distributions import normal_log_prob
from tests.agents.small import close, differs, make, prepared, raw, rows, untied

multiplier_step = jax.jit(lambda agent, batch: agent.update_multiplier(batch)[0])


def distance(agent, observation):
    """D(s) of the acting policy."""
    mean, std = agent.human(observation, agent.average_expert)
    return agent.constraint.distance(agent.actor(observation) - mean, std)


@pytest.mark.parametrize(("kappa", "rises"), [(0.0, True), (50.0, False)])
def test_lambda_rises_above_the_bound_and_falls_below_it_to_zero_at_most(spec, kappa, rises):
    agent = make(spec, kappa=kappa, multiplier_lr=1e-2)
    batch = rows(agent, spec)
    means = [float(agent.multiplier_values(batch.observation).mean())]
    for _ in range(30):
        agent = multiplier_step(agent, batch)
    means.append(float(agent.multiplier_values(batch.observation).mean()))
    assert bool(means[-1] > means[0]) == rises
    assert (agent.multiplier_values(batch.observation) >= 0).all()


def test_lambda_is_the_same_everywhere_at_first_and_state_wise_later(spec):
    agent = make(spec, initial_multiplier=0.6931472, multiplier_lr=1e-2)
    batch = rows(agent, spec)
    observation = batch.observation
    np.testing.assert_allclose(agent.multiplier_values(observation), 0.6931472, rtol=1e-6)
    for _ in range(20):
        agent = multiplier_step(agent, batch)
    assert agent.multiplier_values(observation).std() > 1e-3
    scalar = agent.replace(config=replace(agent.config, multiplier="scalar"))
    np.testing.assert_allclose(np.ptp(scalar.multiplier_values(observation)), 0.0, atol=1e-6)


def test_the_actor_loss_is_the_distance_at_infinity_and_minus_q_at_zero(spec):
    agents = {mode: make(spec, multiplier=mode) for mode in ("infinite", "zero", "const")}
    batch = rows(agents["zero"], spec)
    loss = {m: float(a.actor_loss(a.actor.params, batch)[0]) for m, a in agents.items()}
    agent = agents["zero"]
    far = float(distance(agent, batch.observation).mean())
    q = float(agent.critic(batch.observation, agent.actor(batch.observation)).min(axis=0).mean())
    assert loss["infinite"] == pytest.approx(far, rel=1e-5)
    assert loss["zero"] == pytest.approx(-q, rel=1e-5)
    weight = agents["const"].config.initial_multiplier
    assert loss["const"] == pytest.approx((-q + weight * far) / (1 + weight), rel=1e-4)


def test_while_nobody_has_shown_anything_there_is_no_constraint(spec):
    agent = untied(make(spec, utd=1))
    batch = rows(agent, spec, interventions=0.0)
    actions = np.asarray(agent.actor(batch.observation))
    q = np.asarray(agent.critic(batch.observation, jnp.asarray(actions)).min(axis=0))
    corner = -np.log(1.0 + 1e-6 - actions**2).sum(axis=-1).mean()
    loss, _ = agent.actor_loss(agent.actor.params, batch)
    assert float(loss) == pytest.approx(-q.mean() + 0.01 * np.abs(q).mean() * corner, rel=1e-4)
    after, info = agent.update(raw(agent, spec, (1, 16), 1, interventions=0.0))
    for name in ("expert", "gripper", "multiplier"):
        assert not differs(getattr(agent, name), getattr(after, name)), name
    assert differs(agent.actor.params, after.actor.params)
    # In the first iteration the acting policy is the one that learns: no random weight stays.
    for acting, learning in zip(
        jax.tree.leaves(after.average_actor), jax.tree.leaves(after.actor.params), strict=True
    ):
        np.testing.assert_allclose(acting, learning, atol=1e-6)
    assert all(np.isfinite(value) for value in info.values())
    one_person = batch._replace(is_intervention=np.eye(16, dtype=np.float32)[0])
    assert float(agent.actor_loss(agent.actor.params, one_person)[0]) != pytest.approx(float(loss))


def test_it_explores_widely_at_first_only_while_nobody_has_shown_anything(spec):
    agent = make(spec, utd=1, explore_std=0.2)
    stds = [float(alone(jnp.asarray(n, jnp.int32), 0.2)) for n in (0, 1000, 1900, 5000)]
    assert stds == pytest.approx([1.0, 0.5, 0.2, 0.2])
    still, _ = agent.update(raw(agent, spec, (1, 16), interventions=0.0))
    helped, _ = agent.update(raw(agent, spec, (1, 16), interventions=0.5))
    cloned, _ = agent.update(raw(agent, spec, (2, 16), interventions=1.0), "clone")
    assert [bool(a.shown) for a in (agent, still, helped, cloned)] == [False, False, True, True]
    later, _ = helped.update(raw(helped, spec, (1, 16), 1, interventions=0.0))
    assert bool(later.shown)  # a batch without a person does not take it back
    zeros = {key: np.zeros((400, *v.shape), np.float32) for key, v in spec.observation.items()}
    observation = agent.normalizer.prepare(zeros)
    for each, low, high in ((still, 0.5, 1.0), (helped, 0.15, 0.25)):
        action, _ = each.policy(observation, jax.random.key(0), explore=True)
        assert low < float(action[:, :3].std()) < high


@pytest.mark.parametrize(("varies", "explores"), [(0.01, 0.05), (0.1, 0.1), (0.7, 0.2)])
def test_it_explores_as_far_as_the_person_varies(spec, monkeypatch, varies, explores):
    """While the robot succeeds; one that fails explores as usual, whoever is sure."""
    agent = make(spec, explore_std=0.2, explore_least=0.05).replace(shown=jnp.asarray(True))
    good, half = (agent.replace(worked=jnp.asarray(share)) for share in (1.0, 0.5))
    zeros = {key: np.zeros((2000, *v.shape), np.float32) for key, v in spec.observation.items()}
    observation = agent.normalizer.prepare(zeros)
    mean = jnp.zeros((2000, 3))
    monkeypatch.setattr(SiLRIAgent, "human", lambda *_: (mean, jnp.full_like(mean, varies)))
    for each, wanted in ((good, explores), (half, (explores + 0.2) / 2), (agent, 0.2)):
        action, _ = each.policy(observation, jax.random.key(0), explore=True)
        np.testing.assert_allclose(action[:, :3].std(axis=0), wanted, rtol=0.1)


def test_it_counts_its_own_steps_that_were_in_a_success(spec):
    agent = make(spec, utd=1)
    batch = raw(agent, spec)._replace(columns={"success": np.array([[1, 0, 0, 1] * 4], np.float32)})
    person = np.array([[0, 0, 1, 1] * 4], np.float32)  # the robot's own: half of them
    after, _ = agent.update(batch._replace(is_intervention=person))
    assert float(after.worked) == pytest.approx(0.5 * RATE)
    nobody, _ = after.update(batch._replace(is_intervention=np.ones_like(person)))
    assert float(nobody.worked) == float(after.worked)


def test_the_gradient_map(spec):
    """Who receives a gradient from which loss; everybody else receives exactly none."""
    agent = untied(make(spec))
    batch = rows(agent, spec)
    networks = ("critic", "actor", "expert", "multiplier", "gripper")

    def losses(parameters):
        changed = agent.replace(
            **{name: getattr(agent, name).replace(params=parameters[name]) for name in networks}
        )
        key = jax.random.key(0)
        return {
            "critic": changed.critic_loss(parameters["critic"], batch, key)[0],
            "actor": changed.actor_loss(parameters["actor"], batch)[0],
            "expert": changed.expert_loss(parameters["expert"], batch)[0],
            "multiplier": changed.multiplier_loss(parameters["multiplier"], batch)[0],
        }

    parameters = {name: getattr(agent, name).params for name in networks}
    jacobian = jax.jit(jax.jacrev(losses))(parameters)
    for loss, by_network in jacobian.items():
        for network, gradients in by_network.items():
            reached = any(bool((leaf != 0).any()) for leaf in jax.tree.leaves(gradients))
            assert reached == (loss == network), f"{loss} loss, {network} parameters"


def test_termination_stops_the_bootstrap_and_a_time_out_does_not(spec):
    agent = untied(make(spec))
    batch = rows(agent, spec)._replace(reward=np.full(16, 0.25, np.float32))
    key = jax.random.key(0)

    def target(mask):
        masked = batch._replace(mask=np.full(16, mask, np.float32))
        return agent.critic_loss(agent.critic.params, masked, key)[1]["critic/target"]

    assert target(0.0) == pytest.approx(0.25)
    following = batch.next_observation
    actions = agent.target_actions(following, key)
    value = agent.critic(following, actions, params=agent.target_critic).min(axis=0).mean()
    assert target(1.0) == pytest.approx(0.25 + agent.config.discount * float(value), rel=1e-4)


def test_target_actions_have_cut_noise_and_stay_inside_the_box(spec):
    agent = untied(make(spec))
    observation = prepared(agent, spec)
    mean = agent.actor(observation, params=agent.target_actor)
    noise = agent.target_actions(observation, jax.random.key(0)) - mean
    assert 0.1 < float(noise.std()) < 0.3
    assert float(jnp.abs(noise).max()) <= 0.5 + 1e-6
    far = {"vector": 50.0 * observation["vector"]}
    assert (jnp.abs(agent.target_actions(far, jax.random.key(0))) <= 1.0).all()


def test_released_calls_a_variance_what_paper_calls_a_deviation(spec):
    released, paper = (make(spec, preset=name) for name in ("released", "paper"))
    observation = prepared(released, spec)
    _, scale = released.expert(observation)
    _, std = released.human(observation, released.average_expert)
    np.testing.assert_allclose(std**2, scale, rtol=1e-5)
    bound = released.constraint.bound(released.config.kappa, std)
    np.testing.assert_allclose(bound, scale.sum(-1) + 0.2, rtol=1e-5)
    _, scale = paper.expert(observation)
    _, std = paper.human(observation, paper.average_expert)
    np.testing.assert_allclose(std, scale, rtol=1e-6)
    bound = paper.constraint.bound(paper.config.kappa, std)
    np.testing.assert_allclose(bound, 6 * scale.mean(-1) + 0.1, rtol=1e-5)


def test_the_default_constraint_is_the_divergence_of_two_gaussians_with_the_persons_deviation(spec):
    """KL(N(pi, sigma^2) || N(mu, sigma^2)) <= 0.1 nats per dimension, whatever the spread."""
    agent = make(spec)
    observation = prepared(agent, spec)
    mean, std = agent.human(observation, agent.average_expert)
    actions = agent.actor(observation)
    divergence = normal_log_prob(actions, actions, std) - normal_log_prob(
        actions, mean, std
    )  # of Gaussians with one deviation: the log ratio at the mean
    assert (std > 0.1).all()
    far = agent.constraint.distance(actions - mean, std)
    np.testing.assert_allclose(far, divergence, rtol=1e-3, atol=1e-6)
    bound = agent.constraint.bound(agent.config.kappa, std)
    np.testing.assert_allclose(bound, 0.1 * actions.shape[-1], rtol=1e-6)


def _two_regions(spec, seed, count=256):
    """Left the person always does 0.5; right, 0.5 give or take 0.6."""
    rng = np.random.default_rng(seed)
    batch = fake_batch(spec, (count,), seed, 1.0, ("success",))
    noisy = rng.random(count) < 0.5
    side = np.where(noisy, 1.0, -1.0).astype(np.float32)
    observation = {key: np.zeros_like(value) for key, value in batch.observation.items()}
    observation["state"][:, 0] = side
    action = np.full((count, 4), 0.5, np.float32)
    action[:, :3] += np.where(noisy[:, None], rng.normal(0, 0.6, (count, 3)), 0.02).astype(
        np.float32
    )
    batch = batch._replace(columns={"success": np.ones(count, np.float32)})
    return batch._replace(observation=observation, action=action, human_action=action)


def test_the_expert_learns_where_the_person_is_sure_and_lambda_ends_larger_there(spec):
    agent = make(
        spec,
        multiplier_lr=1e-2,
        learning_rate=3e-3,
        constraint="released",
        kappa=1.0,
        expert_rate=0.05,
        trunk=replace(make(spec).config.trunk, hidden=(16, 16)),
    )
    step = jax.jit(
        lambda agent, batches: jax.lax.scan(
            lambda a, b: (a.update_expert(b)[0], None), agent, batches
        )[0]
    )
    for seed in range(6):
        batches = _repeated(_two_regions(spec, seed), 50)
        agent = step(agent, agent.prepare(batches))
    left, right = (
        {key: np.zeros((1, *v.shape), np.float32) for key, v in spec.observation.items()}
        for _ in "ab"
    )
    left["state"][:, 0], right["state"][:, 0] = -1.0, 1.0
    sure, unsure = (agent.normalizer.prepare(side) for side in (left, right))
    mean, std = agent.human(sure, agent.average_expert)
    np.testing.assert_allclose(mean, 0.52, atol=0.08)
    assert std.max() < 0.15
    assert agent.human(unsure, agent.average_expert)[1].mean() == pytest.approx(0.6, abs=0.15)
    batch = agent.prepare(_two_regions(spec, 9))
    for _ in range(40):
        agent = multiplier_step(agent, batch)
    assert agent.multiplier_values(sure)[0] > 1.5 * agent.multiplier_values(unsure)[0]


def _repeated(batch: Batch, updates: int) -> Batch:
    return jax.tree.map(lambda x: np.stack([x] * updates), batch)


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


# -- before the first episode -------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["pretrain", "clone"])
def test_cloning_sets_every_copy_of_the_actor_and_moves_the_critic_only_if_asked_to(spec, stage):
    agent = untied(make(spec))
    after, info = agent.update(raw(agent, spec, (10, 16), interventions=1.0), stage)
    assert differs(agent.actor.params, after.actor.params)
    assert not differs(after.actor.params, after.target_actor)
    assert not differs(after.actor.params, after.average_actor)
    assert not differs(after.expert.params, after.average_expert)
    assert not differs(after.gripper.params, after.average_gripper)
    assert not differs(agent.multiplier, after.multiplier)
    assert int(after.iterations) == 0
    asked = stage == "pretrain"
    assert differs(agent.critic.params, after.critic.params) is asked
    assert differs(agent.target_critic, after.target_critic) is asked
    assert ("critic/loss" in info) is asked


def test_a_critic_that_has_seen_demonstrations_tells_good_from_bad_actions(spec):
    agent = make(spec, learning_rate=3e-3)
    batch = raw(agent, spec, (50, 64), interventions=1.0)
    good = batch.action[..., 0] > 0
    batch = batch._replace(reward=good.astype(np.float32), mask=np.zeros_like(batch.mask))
    for _ in range(4):
        agent, _ = agent.update(batch, "pretrain")
    last = jax.tree.map(lambda x: x[-1], agent.prepare(batch))
    q = np.asarray(agent.critic(last.observation, continuous_part(spec.action, last.action)).min(0))
    assert q[good[-1]].mean() > q[~good[-1]].mean() + 0.3


# -- variants ---------------------------------------------------------------------------------


def test_coarse_multipliers_move_faster_than_the_fine_one(spec):
    moved = {}
    for name in ("silri", "silri_groups"):
        agent = make(spec, name, kappa=50.0)
        batch = rows(agent, spec)
        before = agent.multiplier_values(batch.observation)
        np.testing.assert_allclose(before, 1.0, rtol=1e-5)
        for _ in range(5):
            agent = multiplier_step(agent, batch)
        moved[name] = float(jnp.abs(agent.multiplier_values(batch.observation) - before).mean())
    assert moved["silri_groups"] > 3 * moved["silri"]


def test_what_is_imitated_is_what_worked(spec):
    agent = make(spec, failed_weight=0.25, own_weight=0.5)
    person = np.array([1, 1, 0, 0], np.float32)
    success = np.array([1, 0, 1, 0], np.float32)
    batch = rows(agent, spec, (4,))._replace(is_intervention=person)
    batch = batch._replace(columns={"success": success})
    worth = losses.examples(batch, 0.25, 0.5)[1]
    np.testing.assert_allclose(worth, [1.0, 0.25, 0.5, 0.0])

    # A row's action counts in proportion: the person's where they drove, else what was executed.
    def gradient(changed):
        def loss(params):
            return agent.expert_loss(params, changed)[0] * worth.sum()

        return jax.grad(loss)(agent.expert.params)

    base = gradient(batch)
    for field, row in (("human_action", 0), ("human_action", 1), ("action", 2)):
        moved = np.array(getattr(batch, field))
        moved[row] = np.clip(moved[row] + 0.5, -1.0, 1.0)
        assert differs(gradient(batch._replace(**{field: moved})), base), (field, row)
    for field, row in (("action", 0), ("human_action", 2), ("action", 3), ("human_action", 3)):
        moved = np.array(getattr(batch, field))
        moved[row] = np.clip(moved[row] + 0.5, -1.0, 1.0)
        close(gradient(batch._replace(**{field: moved})), base)


def test_the_robot_s_own_success_moves_the_human_policy(spec):
    """From all rows, the online ones included; published, beta is of the guidance buffer alone."""
    moved = {}
    for preset in ("default", "released"):
        agent = make(spec, preset=preset, utd=1)
        batch = rows(agent, spec, (16,), interventions=0.5)
        batch = batch._replace(columns={"success": np.ones(16, np.float32)})
        other = np.array(batch.action)
        other[:4] = np.clip(other[:4] + 0.5, -1.0, 1.0)  # rows of the online buffer
        own = batch._replace(is_intervention=np.array([0] * 4 + [1] * 12, np.float32))
        step = jax.jit(lambda agent, b: agent.update_expert(agent.expert_rows(b))[0].expert.params)
        moved[preset] = differs(step(agent, own), step(agent, own._replace(action=other)))
    assert moved == {"default": True, "released": False}


def test_it_asks_a_share_of_the_time_where_the_critics_disagree(spec):
    agent = make(spec, "silri_asking", ask_fraction=0.25, learning_rate=1e-12, utd=1)
    batch = raw(agent, spec, (1, 16), 0)
    step = jax.jit(lambda agent: agent.update_actor(agent.prepare(one))[0])
    one = jax.tree.map(lambda x: x[0], batch)
    for _ in range(300):
        agent = step(agent)
    observation = agent.normalizer.prepare(one.observation)
    _, diagnostics = agent.policy(observation, jax.random.key(0), explore=False)
    asked = np.asarray(diagnostics["ask"], bool)
    driven = one.is_intervention == 0  # the share is of the robot's own steps
    assert asked[driven].mean() == pytest.approx(0.25, abs=0.13)  # one row of eight
    q = np.asarray(agent.critic(observation, agent.actor(observation)))
    doubts = q.max(axis=0) - q.min(axis=0)
    assert doubts[asked].min() > doubts[~asked].max()
    never = make(spec).policy(observation, jax.random.key(0), explore=False)[1]
    assert "ask" not in never
    assert set(CONSTRAINTS) == {"kl", "released", "paper"}
