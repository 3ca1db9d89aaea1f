"""Losses that two or more agents share."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from silri.core.specs import ActionSpec
from silri.core.transition import Batch
from silri.nn.actions import continuous_part
from silri.nn.distributions import normal_log_prob
from silri.nn.train_state import Info, Loss, Params, TrainState

BLOCK = 1024  # rows of one batch of a critic, beyond which a processor's cache is too small


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    """sum(m v) / max(sum m, 1): finite, and 0, for an empty selection."""
    return jnp.sum(values * mask) / jnp.maximum(jnp.sum(mask), 1.0)


def cloning(spec: ActionSpec, batch: Batch, mean: jax.Array, std: jax.Array) -> jax.Array:
    """-sum m log N(a_human; mean, std^2) / sum m, (): m = 1 where a person acted.

    Args:
        spec: says which dimensions are continuous.
        batch: rows (B,).
        mean: (B, D).
        std: (B, D).
    """
    actions = continuous_part(spec, batch.human_action)
    return -masked_mean(normal_log_prob(actions, mean, std), batch.is_intervention)


def examples(batch: Batch, failed: float, own: float) -> tuple[jax.Array, jax.Array]:
    """What is imitated of rows (B,), and what it is worth: actions (B, A), weights w (B,).

    ::

        a = the person's action where they drove, else what was executed
        w = 1        a person's step in an episode that succeeded
        w = failed   a person's step in an episode that failed
        w = own      the robot's own step in an episode that succeeded (0 in one that failed)

    So an imitator moves on from the person as the robot gets better.
    """
    person, success = batch.is_intervention, batch.columns["success"]
    actions = jnp.where(person[:, None] > 0, batch.human_action, batch.action)
    of_person = person * (success + (1.0 - success) * failed)
    return actions, of_person + (1.0 - person) * success * own


def by_driver(name: str, values: jax.Array, batch: Batch) -> Info:
    """Means of values (B,) where a person acted, and where the policy did, as metrics."""
    return {
        f"{name}human_states": masked_mean(values, batch.is_intervention),
        f"{name}policy_states": masked_mean(values, 1.0 - batch.is_intervention),
    }


def temporal_difference(q: jax.Array, target: jax.Array) -> Loss:
    """sum_k mean_B (Q_k - y)^2: every member regresses to one target.

    Args:
        q: (E, B) online ensemble.
        target: (B,) detached.
    """
    error = q - target[None]
    return jnp.sum(jnp.mean(error * error, axis=-1)), {
        "critic/loss": jnp.mean(error * error),
        "critic/q": jnp.mean(q),
        "critic/target": jnp.mean(target),
    }


def conservative(q: jax.Array, candidates: jax.Array, floor: jax.Array) -> Loss:
    """Cal-QL's regulariser (arXiv 2303.05479): other actions are worth no more than the data's.

    ::

        sum_k mean_B [ log mean_{N+1} exp( max(Q_k(s, a_n), G(s)), Q_k(s, a) ) - Q_k(s, a) ]

    A candidate is not pushed below G(s), what the data has really earned from there: the values
    that are left have the size of real returns, so that learning online does not begin by
    forgetting. Without that floor it is CQL (arXiv 2006.04779).

    Args:
        q: (E, B) of the data's actions.
        candidates: (E, N, B) of other actions in the same states.
        floor: (B,) G(s); minus infinity for CQL.
    """
    lifted = jnp.maximum(candidates, floor[None, None])
    everything = jnp.concatenate([lifted, q[:, None]], axis=1)
    soft_maximum = jax.nn.logsumexp(everything, axis=1) - math.log(everything.shape[1])
    below = (candidates < floor[None, None]).astype(q.dtype)
    gap = soft_maximum - q
    return jnp.sum(jnp.mean(gap, axis=-1)), {
        "critic/conservative": jnp.mean(gap),
        "critic/floored": jnp.mean(below),
    }


def some_rows(batch: Batch, share: float) -> Batch:
    """Every n-th row of a batch (B, ...), about ``share`` of them: the mix stays what it is."""
    rows = batch.reward.shape[0]
    step = max(1, rows // max(1, round(rows * share)))
    return jax.tree.map(lambda x: x[::step], batch)


def judge(critic: TrainState, batch: Batch, actions: jax.Array, params: Params) -> jax.Array:
    """Q of candidates (N, B, D) in the states of ``batch``, with a gradient: (E, N, B).

    One batch of up to :data:`BLOCK` rows; more of them in blocks, each computed anew for its
    gradient instead of being kept, because what more rows need fits into no processor's cache
    (three times as fast for 30 x 128). Frames are looked at once: with cameras it is one batch.
    """
    number, rows = actions.shape[:2]
    fits = [n for n in range(1, number + 1) if number % n == 0 and n * rows <= BLOCK]
    block = max(fits, default=1)
    if block == number or len(batch.observation) > 1:
        return critic(batch.observation, actions, params=params)

    @jax.checkpoint
    def values(params: Params, chosen: jax.Array) -> jax.Array:
        return critic(batch.observation, chosen, params=params)

    blocks = actions.reshape((-1, block, *actions.shape[1:]))
    q = jax.lax.map(lambda chosen: values(params, chosen), blocks)  # (N / block, E, block, B)
    return jnp.moveaxis(q, 0, 1).reshape((q.shape[1], *actions.shape[:2]))


def guidance_rows(batch: Batch, online_fraction: float) -> Batch:
    """The rows of a mixed batch (B, ...) that came from the guidance buffer: the last ones.

    All of it if every row is online.
    """
    rows = batch.reward.shape[0]
    start = round(rows * online_fraction) % rows
    return jax.tree.map(lambda x: x[start:], batch)
