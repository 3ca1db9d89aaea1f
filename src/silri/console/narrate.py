"""Steps and episodes in the page's words, the same for a live run and for a stored one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from silri.core.specs import ActionSpec, EnvSpec
from silri.data.episode import Episode
from silri.intervention.coach import Coach
from silri.store.library import Entry

SCALARS = ("lambda", "bound", "distance", "q_policy", "q_human")
_MEAN, _STD = "human_mean", "human_std"
_AXES = ("x", "y", "z", "roll", "pitch", "yaw")
_DIGITS = 5


def why(diagnostics: Mapping[str, float], spec: ActionSpec) -> dict[str, Any]:
    """What the agent thought in one step, of what it tells.

    ``imitation`` is how strongly it imitates the person per unit of action, lambda / (1 + lambda) /
    sigma^2, over the mean of the dimensions. Lambda alone misleads: it is larger where the person
    is less sure, while that weight falls.
    """
    told: dict[str, Any] = {name: _number(diagnostics.get(name)) for name in SCALARS}
    means = [_number(diagnostics.get(f"{_MEAN}.{index}")) for index in spec.continuous]
    stds = [_number(diagnostics.get(f"{_STD}.{index}")) for index in spec.continuous]
    if stds and None not in stds:
        told |= {_MEAN: means, _STD: stds}
        weight = imitation(diagnostics.get("lambda", math.nan), [s for s in stds if s is not None])
        told["imitation"] = _number(weight)
    return {name: value for name, value in told.items() if value is not None}


def imitation(multiplier: float, stds: Sequence[float]) -> float:
    """lambda / (1 + lambda) / sigma^2, the mean over dimensions; NaN where it is not known."""
    if not stds or min(stds) <= 0.0:
        return math.nan
    share = multiplier / (1.0 + multiplier)
    return share * sum(1.0 / (std * std) for std in stds) / len(stds)


def live_step(message: Mapping[str, Any], spec: ActionSpec, coach: Coach) -> dict[str, Any]:
    """A page's step, of the run's message; ``coach`` is told of it and may have advice."""
    human, diagnostics = message["human"], message["diagnostics"]
    estimate = diagnostics.get("q_policy", math.nan)
    stds = [diagnostics.get(f"{_STD}.{index}", math.nan) for index in spec.continuous]
    spread = sum(stds) / max(len(stds), 1)
    advice = coach.advise(message["step"], estimate, driven=human is not None, spread=spread)
    return {
        "type": "step",
        "episode": message["episode"],
        "step": message["step"],
        "env_step": message["env_step"],
        "driver": "policy" if human is None else "human",
        "weight": _number(message["weight"]),
        "action": _numbers(message["action"]),
        "policy": _numbers(message["policy"]),
        "human": None if human is None else _numbers(human),
        "reward": _number(message["reward"]),
        "why": why(diagnostics, spec),
        "advice": None if advice is None else {"kind": advice.kind.value, "why": advice.why},
    }


def coach_after(entries: Iterable[Entry]) -> Coach:
    """A coach who has seen these episodes."""
    coach = Coach()
    for entry in entries:
        if not entry.is_demo:
            coach.end_episode(
                success=entry.success, length=entry.steps, human_steps=entry.human_steps
            )
    return coach


def stored_steps(
    episode: Episode, spec: ActionSpec, first_env_step: int, coach: Coach
) -> list[dict[str, Any]]:
    """The steps of a stored episode; ``env_step`` counts on from ``first_env_step``."""
    frames, steps = episode.frames, []
    coach.begin_episode()
    for step in range(len(episode)):
        driven = bool(frames["is_intervention"][step])
        message = {
            "episode": episode.episode_id,
            "step": step,
            "env_step": 0 if episode.is_demo else first_env_step + step + 1,
            "action": frames["action"][step],
            "policy": frames["policy_action"][step],
            "human": frames["human_action"][step] if driven else None,
            "weight": frames["human_weight"][step],
            "reward": frames["reward"][step],
            "diagnostics": {name: float(v[step]) for name, v in episode.diagnostics.items()},
        }
        steps.append(live_step(message, spec, coach))
    return steps


def actions_of(spec: ActionSpec) -> list[dict[str, Any]]:
    """What a page shows and sends of an action: a name and a kind for each dimension."""
    described: list[dict[str, Any]] = []
    axes = grippers = 0
    for index in range(spec.size):
        if index in spec.gripper:
            grippers += 1
            name = "gripper" if len(spec.gripper) == 1 else f"gripper {grippers}"
            values = list(spec.gripper_values)
            described.append({"name": name, "kind": "gripper", "values": values})
        else:
            # Arms come one after the other; with two of them the names say which.
            arm, axis = divmod(axes, len(_AXES)) if spec.size > 8 else (0, axes)
            axes += 1
            name = _AXES[axis] if axis < len(_AXES) else f"a{index}"
            described.append(
                {"name": f"{name}{arm + 1}" if spec.size > 8 else name, "kind": "axis"}
            )
    return described


def diagnostics_of(names: Sequence[str]) -> list[str]:
    """The names of ``why`` that an agent with these diagnostics fills."""
    told = [name for name in SCALARS if name in names]
    if any(name.startswith(f"{_STD}.") for name in names):
        told += ["imitation", _MEAN, _STD]
    return told


def cameras_of(spec: EnvSpec, *, drawn: bool) -> list[str]:
    """What there is to see: the drawn scene, and every camera of the observation."""
    cameras = [key.removeprefix("images.") for key in camera_keys(spec)]
    return ["scene", *cameras] if drawn else cameras


def camera_keys(spec: EnvSpec) -> list[str]:
    """The observations that are pictures, in the order of :func:`cameras_of`."""
    return [key for key, array in spec.observation.items() if array.is_image]


def _numbers(values: np.ndarray) -> list[float | None]:
    return [_number(value) for value in values]


def _number(value: Any) -> float | None:
    """A number that JSON can hold; None for NaN, infinity and nothing."""
    if value is None:
        return None
    number = float(value)
    return round(number, _DIGITS) if math.isfinite(number) else None
