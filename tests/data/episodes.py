"""Made-up episodes whose every number can be told apart."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from silri.core.specs import EnvSpec
from silri.data.episode import Episode


def make_episode(
    spec: EnvSpec,
    episode_id: int,
    steps: int = 5,
    *,
    flags: list[bool] | np.ndarray | None = None,
    is_demo: bool = False,
    terminated: bool = True,
    diagnostics: tuple[str, ...] = (),
    **fields: Any,
) -> Episode:
    """An episode with random numbers that depend on ``episode_id`` only.

    The first element of every vector observation is ``1000 * episode_id + row`` and the reward
    of step t is ``1000 * episode_id + t``, so a row says where it comes from.
    """
    rng = np.random.default_rng(episode_id)
    chosen = np.full(steps, is_demo) if flags is None else np.asarray(flags, bool)
    observations = {}
    for key, array in spec.observation.items():
        if array.dtype == "uint8":
            value = rng.integers(0, 256, (steps + 1, *array.shape)).astype(np.uint8)
        else:
            value = rng.standard_normal((steps + 1, *array.shape)).astype(array.dtype)
            value.reshape(steps + 1, -1)[:, 0] = 1000 * episode_id + np.arange(steps + 1)
        observations[key] = value
    action, policy, human = rng.uniform(-1, 1, (3, steps, spec.action.size)).astype(np.float32)
    last = np.arange(steps) == steps - 1
    return Episode(
        episode_id=episode_id,
        observations=observations,
        frames={
            "action": action,
            "policy_action": policy,
            "human_action": np.where(chosen[:, None], human, np.float32(np.nan)),
            "human_weight": chosen.astype(np.float32),
            "reward": (1000 * episode_id + np.arange(steps)).astype(np.float32),
            "terminated": last & terminated,
            "truncated": last & (not terminated),
            "is_intervention": chosen,
            "grasp_penalty": rng.uniform(-1, 0, steps).astype(np.float32),
            "policy_version": rng.integers(0, 1 << 40, steps),
        },
        diagnostics={
            name: np.where(np.arange(steps) % 3 == 1, np.nan, rng.random(steps)).astype(np.float32)
            for name in diagnostics
        },
        **{
            "success": terminated,
            "is_demo": is_demo,
            "seed": 7 * episode_id,
            "task": spec.name,
            "operator": "steady",
            **fields,
        },
    )


def assert_equal(a: Episode, b: Episode) -> None:
    """The same, to the last bit (NaN payloads included)."""
    for field in dataclasses.fields(Episode):
        left, right = getattr(a, field.name), getattr(b, field.name)
        if isinstance(left, dict):
            assert left.keys() == right.keys(), field.name
            for name, value in left.items():
                assert value.dtype == right[name].dtype, (field.name, name)
                assert value.shape == right[name].shape, (field.name, name)
                assert value.tobytes() == right[name].tobytes(), (field.name, name)
        else:
            assert left == right, field.name
            assert type(left) is type(right), field.name
