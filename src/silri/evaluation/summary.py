"""``summary.json``: the definitions of design.md section 5, to the letter."""

from __future__ import annotations

import math
from typing import Any

from silri.configs.run import RunConfig
from silri.evaluation.statistics import (
    final_success,
    scheduled,
    steps_to_threshold,
    wilson_interval,
)
from silri.runtime.state import RunState

SECONDS_PER_STEP = 0.1  # a human-driven step, in every table


def summarise(config: RunConfig, state: RunState) -> dict[str, Any]:
    """The summary of a run so far; null where a number is not known (yet)."""
    evaluations = [(int(row["step"]), row["success_rate"]) for row in state.evaluations]
    last = state.evaluations[-1] if state.evaluations else None
    judged = [evaluations[index] for index in scheduled(evaluations)]
    to_90 = steps_to_threshold(judged)
    at_90 = next((row for row in state.evaluations if row["step"] == to_90), None)
    interval = None
    if last is not None:
        interval = list(wilson_interval(last["successes"], int(last["episodes"])))
    train = max(state.train_wall_s, 1e-9)
    return {
        "agent": config.agent_name,
        "preset": config.preset,
        "env": config.env.name,
        "operator": config.operator.name,
        "seed": config.seed,
        "env_steps": state.env_steps,
        "episodes": state.episodes,
        "success_rate": None if last is None else last["success_rate"],
        "success_ci95": interval,
        "final_success": final_success(judged),
        "eval_episodes": config.evaluation.episodes,
        "mean_success_length": None if last is None else _known(last["mean_success_length"]),
        "demo_episodes": state.demo_episodes,
        "demo_steps": state.demo_steps,
        "intervention_steps": state.intervention_steps,
        "intervention_rate": state.intervention_steps / max(state.env_steps, 1),
        "interventions": state.interventions,
        "human_seconds": state.intervention_steps * SECONDS_PER_STEP,
        "demo_seconds": state.demo_steps * SECONDS_PER_STEP,
        "steps_to_90": to_90,
        "intervention_steps_to_90": None if at_90 is None else int(at_90["intervention_steps"]),
        "train_wall_s": round(state.train_wall_s, 3),
        "eval_wall_s": round(state.eval_wall_s, 3),
        "wall_s": round(state.wall_s, 3),
        "learner_updates": state.updates,
        "learner_updates_per_s": round(state.updates / train, 2),
        "env_steps_per_s": round(state.env_steps / train, 2),
        "quarantined": state.quarantined,
        "evaluations": [[step, rate] for step, rate in evaluations],
        "evaluation_intervention_steps": [
            int(row["intervention_steps"]) for row in state.evaluations
        ],
        "completed": _completed(config, state),
    }


def _completed(config: RunConfig, state: RunState) -> bool:
    """The budget is reached, and what came of it has been evaluated."""
    budget = config.steps if config.env_learns else 0
    evaluated = bool(state.evaluations) and state.evaluations[-1]["step"] == state.env_steps
    return evaluated and state.env_steps >= budget


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
