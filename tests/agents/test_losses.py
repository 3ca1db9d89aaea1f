"""Cal-QL's regulariser against numbers computed by hand, and the evaluation of candidates."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from silri.agents import losses
from silri.agents.losses import conservative, guidance_rows, judge, some_rows
from silri.core.specs import ArraySpec
from silri.data.mixer import Mixer
from silri.data.replay import Replay
from tests.agents.small import make, rows

NONE = jnp.full((1,), -jnp.inf)


def test_a_hand_computed_case_with_one_candidate_below_the_floor():
    q, candidates = jnp.asarray([[1.0]]), jnp.asarray([[[3.0], [-2.0]]])
    loss, info = conservative(q, candidates, jnp.asarray([0.5]))
    # -2 counts as 0.5: log((e^3 + e^0.5 + e^1) / 3) - 1.
    assert loss == pytest.approx(np.log((np.e**3 + np.e**0.5 + np.e) / 3) - 1, rel=1e-6)
    assert info["critic/floored"] == 0.5
    without, info = conservative(q, candidates, NONE)
    assert without == pytest.approx(np.log((np.e**3 + np.e**-2 + np.e) / 3) - 1, rel=1e-6)
    assert info["critic/floored"] == 0.0


def test_equal_values_and_no_floor_give_nothing():
    q = jnp.full((2, 4), 3.5)
    loss, _ = conservative(q, jnp.full((2, 30, 4), 3.5), jnp.full((4,), 1.0))
    assert loss == pytest.approx(0.0, abs=1e-5)


def test_it_is_summed_over_members_and_averaged_over_rows():
    q, candidates = jnp.asarray([[0.0, 1.0], [2.0, 0.0]]), jnp.ones((2, 1, 2))
    gaps = np.log((np.exp([[0, 1], [2, 0]]) + np.e) / 2) - np.array([[0, 1], [2, 0]])
    loss, info = conservative(q, candidates, jnp.full((2,), -jnp.inf))
    assert loss == pytest.approx(gaps.mean(axis=1).sum(), rel=1e-5)
    assert info["critic/conservative"] == pytest.approx(gaps.mean(), rel=1e-5)


def test_a_candidate_below_its_floor_is_not_pushed_and_the_data_is_pulled_up():
    def loss(q, candidates):
        return conservative(q, candidates, jnp.asarray([0.5]))[0]

    pulled, pushed = jax.grad(loss, argnums=(0, 1))(
        jnp.asarray([[1.0]]), jnp.asarray([[[3.0], [-2.0]]])
    )
    assert float(pulled[0, 0]) < 0.0
    assert float(pushed[0, 0, 0]) > 0.0
    assert float(pushed[0, 1, 0]) == 0.0


def test_some_rows_keep_the_mix_of_a_batch(spec):
    batch = rows(make(spec, "bc"), spec)
    np.testing.assert_array_equal(some_rows(batch, 0.25).reward, batch.reward[::4])
    np.testing.assert_array_equal(some_rows(batch, 1.0).reward, batch.reward)
    assert some_rows(batch, 0.0).reward.shape == (1,)


@pytest.mark.parametrize(("size", "share"), [(16, 0.5), (16, 0.25), (9, 0.5), (7, 0.9), (8, 0.0)])
def test_guidance_rows_are_those_that_the_mixer_draws_from_guidance(spec, size, share):
    batch = rows(make(spec, "bc"), spec, (size,))
    replay = Replay(4, spec)
    online = Mixer(replay, replay, size, share).online_rows  # the first ones of a batch
    np.testing.assert_array_equal(guidance_rows(batch, share).reward, batch.reward[online:])


def test_all_rows_are_guidance_where_every_one_is_online(spec):
    batch = rows(make(spec, "bc"), spec)
    np.testing.assert_array_equal(guidance_rows(batch, 1.0).reward, batch.reward)


@pytest.mark.parametrize("camera", [False, True])
def test_candidates_in_blocks_are_worth_what_each_is_alone(spec, camera, monkeypatch):
    monkeypatch.setattr(losses, "BLOCK", 32)  # two candidates of 16 rows
    if camera:
        seen = {**spec.observation, "images.front": ArraySpec((8, 8, 3), "uint8")}
        spec = type(spec)(spec.name, seen, spec.action, spec.max_episode_steps)
    agent = make(spec, "conrft")
    batch = rows(agent, spec)
    actions = jax.random.uniform(jax.random.key(0), (4, 16, 3))

    weights = jax.random.uniform(jax.random.key(1), (2, 4, 16))  # a value at a wrong place counts

    def total(params):
        return jnp.sum(weights * judge(agent.critic, batch, actions, params))

    def by_hand(params):
        each = [agent.critic(batch.observation, a, params=params) for a in actions]
        return jnp.sum(weights * jnp.stack(each, axis=1))

    for got, wanted in zip(
        *(
            jax.tree.leaves(jax.jit(jax.value_and_grad(f))(agent.critic.params))
            for f in (total, by_hand)
        ),
        strict=True,
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-4)
