"""What the expert of a simulator makes of an episode."""

from __future__ import annotations

import numpy as np

from silri.envs.gym.adapter import GymEnv


def experts(env: GymEnv, seed: int) -> list[tuple[float, bool, bool, bool]]:
    """(reward, terminated, truncated, success) of every step of the expert's episode."""
    env.reset(seed=seed)
    rows = []
    while not rows or not (rows[-1][1] or rows[-1][2]):
        action = np.clip(env.privileged().expert_action, -1, 1)  # type: ignore[attr-defined]
        _, reward, terminated, truncated, info = env.step(action)
        rows.append((reward, terminated, truncated, info["success"]))
    return rows
