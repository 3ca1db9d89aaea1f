"""The table of README.md, from the kept runs of the suite ``paper``.

    python benchmarks/readme_table.py

Steps and seconds are medians over the tasks of medians over seeds. The end is the interquartile
mean of all runs of a method, the worst task a mean of its seeds.
"""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from pathlib import Path
from statistics import mean, median
from typing import Any

RUNS = Path(__file__).parents[1] / "docs/results/paper.jsonl.gz"
METHODS = {"silri": "SiLRI", "hil_serl": "HIL-SERL", "hg_dagger": "HG-DAgger", "bc": "BC"}


def row(name: str, tasks: list[list[dict[str, Any]]]) -> str:
    """One method's line; ``tasks`` has a summary per seed of each task."""
    steps = median(median(run["steps_to_90"] or float("inf") for run in runs) for runs in tasks)
    seconds = median(median(run["human_seconds"] for run in runs) for runs in tasks)
    ends = [[run["final_success"] for run in runs] for runs in tasks]
    every = sorted(end for runs in ends for end in runs)
    middle = every[len(every) // 4 : -(len(every) // 4)]
    reached = "none" if steps == float("inf") else f"{steps:,.0f}"
    worst = min(mean(runs) for runs in ends)
    return f"| {name} | {reached} | {mean(middle):.2f} | {worst:.2f} | {seconds:.0f} |"


def main() -> None:
    """Print the rows."""
    tasks: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    with gzip.open(RUNS) as lines:
        for line in lines:
            run = json.loads(line)
            task, _, rest = run["cell"].partition("_")
            tasks[rest.rsplit("_", 2)[0]][task].append(run["summary"])
    for method, name in METHODS.items():
        print(row(name, list(tasks[method].values())))


if __name__ == "__main__":
    main()
