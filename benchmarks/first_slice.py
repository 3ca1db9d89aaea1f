"""The first slice's comparison: four agents, two tasks, three seeds; a table in Markdown.

    python benchmarks/first_slice.py --out runs/first_slice            run what is missing
    python benchmarks/first_slice.py --out runs/first_slice --table    print the table only
    python benchmarks/first_slice.py --out runs/first_slice --collect docs/results/first_slice

Every run is an ordinary ``silri train`` in a folder of its own; a finished one is never run again
and an interrupted one is resumed. Two at a time, each on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from silri.evaluation.statistics import median_and_range

TASKS = {
    "drawer-open": ["--env", "metaworld/drawer-open-v3"],
    "pick-place": ["--env", "metaworld/pick-place-v3", "--env.reset-range", "0.03"],
}
AGENTS = ("silri", "hil_serl", "hg_dagger", "bc")
BUDGET = {"drawer-open": 8_000, "pick-place": 5_000}  # environment steps


def command(task: str, agent: str, seed: int, folder: Path) -> list[str]:
    """The command of one cell, or its resumption."""
    silri = [sys.executable, "-m", "silri.cli.main", "train"]
    if (folder / "checkpoints" / "last").exists():
        return [*silri, "--resume", str(folder)]
    shutil.rmtree(folder, ignore_errors=True)  # killed before its first checkpoint
    steps = 0 if agent == "bc" else BUDGET[task]
    names = ["--agent", agent, "--operator", "heterogeneous", *TASKS[task]]
    return [*silri, *names, "--steps", str(steps), "--seed", str(seed), "--out", str(folder)]


def run(cell: tuple[str, str, int], out: Path, cores: queue.Queue[int]) -> None:
    """Run one cell unless it is finished, on a core of its own; output goes beside its folder."""
    task, agent, seed = cell
    folder = out / f"{task}_{agent}_s{seed}"
    summary = folder / "summary.json"
    if summary.exists() and json.loads(summary.read_text())["completed"]:
        return
    out.mkdir(parents=True, exist_ok=True)
    core = cores.get()
    with (out / f"{folder.name}.log").open("a") as log:
        line = command(task, agent, seed, folder)
        # XLA sizes its thread pool by the cores that the process may use.
        pinned = ["taskset", "-c", str(core), *line] if shutil.which("taskset") else line
        subprocess.run(pinned, stdout=log, stderr=subprocess.STDOUT, check=False)
    cores.put(core)


def table(out: Path) -> str:
    """One row per task and agent: median [range] over seeds."""
    head = (
        "| task | agent | seeds | steps to 90 % | success at the end | intervention rate "
        "| human seconds | demonstrations s |\n| --- | --- | --- | --- | --- | --- | --- | --- |"
    )
    rows = [head]
    for task in TASKS:
        for agent in AGENTS:
            paths = sorted(out.glob(f"{task}_{agent}_s*/summary.json"))
            paths += sorted(out.glob(f"{task}_{agent}_s*.json"))
            done = [s for s in map(_read, paths) if s["completed"]]
            if not done:
                continue

            def cell(name: str, spec: str, done: list[dict] = done) -> str:
                return median_and_range([s[name] for s in done]).format(spec)

            to_90 = "-"  # BC takes no environment step
            if agent != "bc":
                steps = [s["steps_to_90"] for s in done]
                to_90 = median_and_range(steps, float(BUDGET[task])).format(",.0f")
            rows.append(
                f"| {task} | {agent} | {len(done)} | {to_90} "
                f"| {cell('final_success', '.2f')} | {cell('intervention_rate', '.2f')} "
                f"| {cell('human_seconds', '.0f')} | {cell('demo_seconds', '.0f')} |"
            )
    return "\n".join(rows)


def _read(path: Path) -> dict:
    return json.loads(path.read_text())


def main() -> None:
    """Run, collect or print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/first_slice"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--agents", nargs="+", default=list(AGENTS), choices=AGENTS)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--table", action="store_true", help="print the table and stop")
    parser.add_argument("--collect", type=Path, help="copy every summary.json there and stop")
    chosen = parser.parse_args()
    if chosen.collect:
        chosen.collect.mkdir(parents=True, exist_ok=True)
        for path in sorted(chosen.out.glob("*/summary.json")):
            shutil.copy(path, chosen.collect / f"{path.parent.name}.json")
    elif not chosen.table:
        cells = [
            (t, a, s) for s in range(chosen.seeds) for a in chosen.agents for t in chosen.tasks
        ]
        cores: queue.Queue[int] = queue.Queue()
        for core in sorted(os.sched_getaffinity(0))[: chosen.jobs]:
            cores.put(core)
        with ThreadPoolExecutor(cores.qsize()) as pool:
            list(pool.map(lambda cell: run(cell, chosen.out, cores), cells))
    print(table(chosen.out))


if __name__ == "__main__":
    main()
