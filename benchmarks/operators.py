"""What the simulated operators are really like: success, takeovers, error near and far.

    python benchmarks/operators.py               all presets on four tasks (about 5 minutes)
    python benchmarks/operators.py --ceilings    the scripted expert on all fifty tasks
    python benchmarks/operators.py --presets expert --tasks door-close-v3 --episodes 2   a glance

Prints Markdown tables for docs/reference/people.md; ``--ceilings`` also prints what
``silri.envs.registry.EXPERT_CEILINGS`` must say.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from silri.core.protocols import Operator, OperatorView, Privileged
from silri.envs.config import MetaworldConfig
from silri.envs.metaworld.env import MetaworldEnv
from silri.envs.registry import EXPERT_CEILINGS, create_env
from silri.intervention.arbiter import Arbiter
from silri.intervention.operators import OperatorContext
from silri.intervention.presets import EXPERT
from silri.intervention.registry import OPERATORS, create_operator
from silri.runtime.acting.demos import demonstrator_of

TASKS: dict[str, float | None] = {
    "drawer-open-v3": None,
    "pick-place-v3": 0.03,
    "door-close-v3": None,
    "button-press-topdown-v3": None,
}
NEAR, FAR = 0.08, 0.16  # metres between hand and object that count as near, as far
Policy = Callable[[np.random.Generator, Privileged], np.ndarray]


@dataclass
class Measured:
    """What was seen of one operator on one task."""

    successes: list[bool] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    takeovers: list[int] = field(default_factory=list)
    near: list[float] = field(default_factory=list)
    far: list[float] = field(default_factory=list)


def bad_policy(rng: np.random.Generator, known: Privileged) -> np.ndarray:
    """The expert with an error of half to one action unit: goes wrong, and not always."""
    return np.clip(np.clip(known.expert_action, -1, 1) + rng.normal(0.0, 0.7, 4), -1, 1)


def run(env: MetaworldEnv, operator: Operator, policy: Policy, episodes: int) -> Measured:
    """Drive ``episodes`` layouts; the operator decides whether it takes part."""
    measured = Measured()
    arbiter = Arbiter(env.env_spec.action)
    motion = list(env.env_spec.action.continuous)
    for episode in range(episodes):
        observation, _ = env.reset(seed=episode)
        rng = np.random.default_rng([episode, 1])
        operator.begin_episode(np.random.default_rng([episode, 2]))
        arbiter.begin_episode()
        step = held = 0
        while True:
            known = env.privileged()
            proposed = env.env_spec.action.snap(policy(rng, known))
            view = OperatorView(observation, proposed, known, step, held > 0)
            asked = operator.decide(view)
            decision = arbiter.decide(proposed, asked)
            if asked.action is not None:
                error = asked.action - env.env_spec.action.snap(known.expert_action)
                distance = math.dist(known.hand, known.object)
                size = float(np.sqrt(np.mean(np.square(error[motion]))))
                if distance < NEAR:
                    measured.near.append(size)
                elif distance > FAR:
                    measured.far.append(size)
            held = held + 1 if decision.is_intervention else close(measured, held)
            observation, _, terminated, truncated, info = env.step(decision.executed)
            step += 1
            if terminated or truncated:
                break
        close(measured, held)
        measured.successes.append(info["success"])
        measured.lengths.append(step)
        operator.end_episode(
            {"success": info["success"], "length": step, "intervention_steps": 0.0}
        )
    return measured


def close(measured: Measured, held: int) -> int:
    """Note a takeover that has ended after ``held`` steps, if there was one."""
    if held:
        measured.takeovers.append(held)
    return 0


def presets(names: list[str], tasks: list[str], episodes: int) -> None:
    """Print the table of presets."""
    lengths = "takeover, steps: mean / median"
    print(f"| preset | task | success alone | steps | {lengths} | error near | far |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in names:
        for task in tasks:
            layouts = MetaworldConfig(reset_range=TASKS.get(task))
            env = create_env(f"metaworld/{task}", layouts)
            assert isinstance(env, MetaworldEnv)
            config, spec = OPERATORS.load(name).preset().config, env.env_spec.action
            person = create_operator(config, OperatorContext(spec, name))
            alone = run(env, demonstrator_of(person), bad_policy, episodes)
            helping = run(env, person, bad_policy, max(1, episodes // 4))
            print(
                f"| {name} | {task} | {np.mean(alone.successes):.2f} "
                f"| {np.mean(alone.lengths):.0f} "
                f"| {_mean(helping.takeovers):.1f} / {_median(helping.takeovers):.0f} "
                f"| {_mean(alone.near):.2f} | {_mean(alone.far):.2f} |",
                flush=True,
            )


def ceilings(tasks: list[str], episodes: int) -> None:
    """Print the expert's success."""
    print("| task | expert | mean steps of a success |\n| --- | --- | --- |")
    rows = {}
    for task in tasks:
        env = create_env(f"metaworld/{task}", MetaworldConfig())
        assert isinstance(env, MetaworldEnv)
        operator = create_operator(EXPERT, OperatorContext(env.env_spec.action, "expert", True))
        seen = run(env, operator, lambda _, known: known.expert_action, episodes)
        rows[task] = float(np.mean(seen.successes))
        done = [length for length, good in zip(seen.lengths, seen.successes, strict=True) if good]
        print(f"| {task} | {rows[task]:.2f} | {_mean(done):.0f} |", flush=True)
    print("\nEXPERT_CEILINGS = {")
    for task, share in rows.items():
        print(f'    "{task}": {share:.2f},')
    print("}")


def _mean(values: list[float] | list[int]) -> float:
    return float(np.mean(values)) if values else math.nan


def _median(values: list[int]) -> float:
    return float(np.median(values)) if values else math.nan


def main() -> None:
    """Parse the command line and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ceilings", action="store_true", help="the expert on all fifty tasks")
    parser.add_argument("--episodes", type=int, default=100, help="layouts per table row")
    parser.add_argument("--tasks", nargs="+", help="default: four, or all fifty for --ceilings")
    people = [name for name in OPERATORS.names() if name != "none"]
    parser.add_argument("--presets", nargs="+", default=people, help="default: all")
    chosen = parser.parse_args()
    if chosen.ceilings:
        ceilings(chosen.tasks or list(EXPERT_CEILINGS), chosen.episodes)
    else:
        presets(chosen.presets, chosen.tasks or list(TASKS), chosen.episodes)


if __name__ == "__main__":
    main()
