"""Meta-World's scripted experts with and without disturbances, for docs/explanation/robustness.md.

    python benchmarks/disturbance.py                 all tasks, 100 layouts (about 3 minutes)
    python benchmarks/disturbance.py push-v3         one task

A policy's drop is to be read beside its expert's: an expert always sees where the object is.
"""

from __future__ import annotations

import argparse

import numpy as np

from silri.envs.config import MetaworldConfig
from silri.envs.metaworld.disturbance import KINDS, TARGETS
from silri.envs.metaworld.env import MetaworldEnv
from silri.envs.registry import create_env
from silri.evaluation.disturbance import UNDISTURBED, evaluate_disturbed
from silri.evaluation.statistics import wilson_interval


def cell(env: MetaworldEnv, episodes: int, kind: str) -> str:
    """Success, its interval, steps of a success and in how many episodes it happened."""
    result = evaluate_disturbed(
        env, lambda *_: np.clip(env.privileged().expert_action, -1.0, 1.0), episodes, kind
    )
    wins = int(result.evaluation.successes.sum())
    low, high = wilson_interval(wins, episodes)
    steps = result.evaluation.metrics()["mean_success_length"]
    share = "" if kind == UNDISTURBED else f", in {result.occurred.sum()}"
    return f"{wins / episodes:.2f} [{low:.2f}, {high:.2f}], {steps:.0f} steps{share}"


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="*", default=list(TARGETS), help="which ones")
    parser.add_argument("--episodes", type=int, default=100, help="layouts per cell")
    parser.add_argument("--reset-range", type=float, default=0.03, help="metres")
    arguments = parser.parse_args()
    print(f"| task | undisturbed | {' | '.join(KINDS)} |\n| --- |{' --- |' * (1 + len(KINDS))}")
    for task in arguments.tasks:
        config = MetaworldConfig(reset_range=arguments.reset_range)
        env = create_env(f"metaworld/{task}", config)
        assert isinstance(env, MetaworldEnv)
        cells = [
            cell(env, arguments.episodes, kind) if kind in (UNDISTURBED, *env.disturbances) else "-"
            for kind in (UNDISTURBED, *KINDS)
        ]
        print(f"| {task} | {' | '.join(cells)} |", flush=True)
        env.close()


if __name__ == "__main__":
    main()
