"""The only things that cross from acting to learning: a transition, an episode's worth, a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from silri.core.specs import EnvSpec, Observation


@dataclass(frozen=True, slots=True)
class Transition:
    """One decision and what came of it. Every field is always there.

    Attributes:
        observation: before the action.
        action: (A,) what was *executed*.
        policy_action: (A,) what the policy proposed.
        human_action: (A,) what the person asked for; NaN when nobody intervenes.
        human_weight: share of ``human_action`` in ``action`` while control is blended; 0 when
            nobody intervenes.
        reward: of this step.
        next_observation: after the action; at a time-out the true last one.
        terminated: the task ended (success or failure); no bootstrap.
        truncated: the time ran out; bootstraps from ``next_observation``.
        is_intervention: a person was in control (demonstrations are all intervention).
        grasp_penalty: <= 0, used only by a grasp critic.
        episode_id: index in the run's store.
        step: index within the episode.
        policy_version: learner iterations behind the parameters that proposed.
    """

    observation: Observation
    action: np.ndarray
    policy_action: np.ndarray
    human_action: np.ndarray
    human_weight: float
    reward: float
    next_observation: Observation
    terminated: bool
    truncated: bool
    is_intervention: bool
    grasp_penalty: float
    episode_id: int
    step: int
    policy_version: int


class Batch(NamedTuple):
    """Columns of transitions, leading axes ``(B,)`` or ``(U, B)``. A pytree without importing JAX.

    Attributes:
        observation, next_observation: dict of (..., *shape).
        action: (..., A) executed.
        human_action: (..., A); equals ``action`` (never NaN) where nobody intervened.
        reward, mask, grasp_penalty: (...,) float32; ``mask`` is :func:`bootstrap_mask`.
        is_intervention: (...,) float32, 1 where a person was in control.
        columns: (...,) each, what the agent declares (``AgentConfig.columns``).
    """

    observation: dict[str, Any]
    action: Any
    human_action: Any
    reward: Any
    mask: Any
    next_observation: dict[str, Any]
    is_intervention: Any
    grasp_penalty: Any
    columns: dict[str, Any] = {}  # noqa: RUF012  a NamedTuple default that nobody mutates


def bootstrap_mask(terminated: Any) -> np.ndarray:
    """1 - terminated: the one place where the bootstrap is decided. A time-out bootstraps."""
    return 1.0 - np.asarray(terminated, np.float32)


def fake_batch(
    spec: EnvSpec,
    batch_shape: tuple[int, ...],
    seed: int = 0,
    interventions: float = 0.5,
    columns: tuple[str, ...] = (),
) -> Batch:
    """A random batch that fits ``spec``: for tests, benchmarks and compile warm-up.

    Args:
        spec: the environment.
        batch_shape: ``(B,)`` or ``(U, B)``.
        seed: of the draw.
        interventions: share of rows where a person was in control.
        columns: names of ``AgentConfig.columns``.
    """
    rng = np.random.default_rng(seed)

    def observation() -> Observation:
        return {
            key: rng.integers(0, 256, batch_shape + array.shape, dtype=np.uint8)
            if array.dtype == "uint8"
            else rng.standard_normal(batch_shape + array.shape, np.float32).astype(array.dtype)
            for key, array in spec.observation.items()
        }

    action = spec.action.snap(rng.uniform(-1, 1, (*batch_shape, spec.action.size)))
    before = observation()
    reward = rng.uniform(-1, 1, batch_shape).astype(np.float32)
    mask = bootstrap_mask(rng.random(batch_shape) < 0.1)
    after = observation()
    flags = (rng.random(batch_shape) < interventions).astype(np.float32)
    return Batch(
        observation=before,
        action=action,
        human_action=action.copy(),
        reward=reward,
        mask=mask,
        next_observation=after,
        is_intervention=flags,
        grasp_penalty=np.where(rng.random(batch_shape) < 0.1, -0.02, 0.0).astype(np.float32),
        columns={name: rng.uniform(-1, 1, batch_shape).astype(np.float32) for name in columns},
    )
