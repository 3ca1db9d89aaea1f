"""``summary.json``: what a run came to, in numbers; docs/guides/benchmark.md defines them."""

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
from silri.runtime.keeping.state import RunState

# Of a step that a simulated person drives, in every table. It stands for a person who decides ten
# times a second, and is not the simulator's own time (``EnvSpec.control_hz``; Meta-World: 1/40 s).
SECONDS_PER_STEP = 0.1
NOT_JUDGED = (
    "nothing says whether the task was done: a new run with --env.success-return X counts returns "
    "of at least X, with --env.success-key NAME what the environment's info has"
)


def seconds_per_step(config: RunConfig) -> float:
    """What a step costs a person: real time where the loop keeps a rate, else the convention."""
    return 1.0 / config.runtime.rate_hz if config.runtime.rate_hz else SECONDS_PER_STEP


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
        "env": config.env_name,
        "operator": config.operator_name,
        "seed": config.seed,
        "env_steps": state.env_steps,
        "episodes": state.episodes,
        "success_rate": None if last is None else last["success_rate"],
        "success_ci95": interval,
        "final_success": final_success(judged),
        "eval_episodes": config.evaluation.episodes if config.evaluation.every else 0,
        "mean_return": None if last is None else last.get("mean_return"),
        "judged": last is None or "judged" not in last,
        "mean_success_length": None if last is None else _known(last["mean_success_length"]),
        "demo_episodes": state.demo_episodes,
        "demo_steps": state.demo_steps,
        "intervention_steps": state.intervention_steps,
        "intervention_rate": state.intervention_steps / max(state.env_steps, 1),
        "interventions": state.interventions,
        "successes": state.successes,
        "successes_alone": state.successes_alone,
        "episodes_alone": state.episodes_alone,
        "human_seconds": state.intervention_steps * seconds_per_step(config),
        "demo_seconds": state.demo_steps * seconds_per_step(config),
        "steps_to_90": to_90,
        "intervention_steps_to_90": None if at_90 is None else int(at_90["intervention_steps"]),
        "train_wall_s": round(state.train_wall_s, 3),
        "eval_wall_s": round(state.eval_wall_s, 3),
        "wall_s": round(state.wall_s, 3),
        "learner_updates": state.updates,
        "learner_updates_per_s": round(state.updates / train, 2),
        "env_steps_per_s": round(state.env_steps / train, 2),
        "quarantined": state.quarantined,
        "discarded": state.discarded,
        "evaluations": [[step, rate] for step, rate in evaluations],
        "evaluation_intervention_steps": [
            int(row["intervention_steps"]) for row in state.evaluations
        ],
        "completed": _completed(config, state),
    }


def _completed(config: RunConfig, state: RunState) -> bool:
    """The budget is reached, and the policy has been evaluated, if it is to be."""
    budget = config.steps if config.agent.learns_online else 0
    if not config.evaluation.every:
        return state.env_steps >= budget
    evaluated = bool(state.evaluations) and state.evaluations[-1]["step"] == state.env_steps
    return evaluated and state.env_steps >= budget


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
