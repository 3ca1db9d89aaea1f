"""LeRobot's HIL-SERL learner and silri's, side by side.

    python benchmarks/peers/compare.py parity     same batches, same noise: do they agree?
    python benchmarks/peers/compare.py time       seconds of a learner iteration
    python benchmarks/peers/compare.py learn      the same task, the same batches for both
    python benchmarks/peers/compare.py report     tables and the figure, from the results

Runs in silri's environment. LeRobot (0.4.4) lives in one of its own, ``--peer-venv``, which is
made and filled (8 GB, minutes) where it is missing. What it measures and what cannot be equal:
docs/explanation/peers.md.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
from pathlib import Path
from typing import Any

from installed import default_venv, python_of

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results" / "peers"


def main() -> None:
    """Parse and run one of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("parity", "time", "learn", "report"))
    parser.add_argument("--peer-venv", type=Path, default=default_venv())
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--iterations", type=int, default=200, help="parity")
    parser.add_argument("--threads", type=int, default=0, help="time: 0 measures 1 and 2")
    parser.add_argument("--rounds", type=int, default=40, help="time")
    parser.add_argument("--device", default="cpu", help="time: cpu or cuda, of both")
    parser.add_argument("--compiled", action="store_true", help="time: torch.compile as well")
    parser.add_argument("--task", default="drawer-open", help="learn: of metaworld")
    parser.add_argument("--reset-range", type=float, default=0.03, help="learn: metres")
    parser.add_argument("--steps", type=int, default=5_000, help="learn: environment steps")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="learn")
    parser.add_argument(
        "--drivers", nargs="+", default=["silri", "lerobot"], help="learn: which learner acts"
    )
    parser.add_argument("--extras", nargs="*", default=[], help="learn: further passive learners")
    chosen = parser.parse_args()
    # Both learners on the same device, also where the machine has another.
    os.environ["JAX_PLATFORMS"] = chosen.device
    chosen.out.mkdir(parents=True, exist_ok=True)
    actions = {"parity": _parity, "time": _time, "learn": _learn, "report": _report}
    actions[chosen.what](chosen)


def _parity(chosen: argparse.Namespace) -> None:
    from iteration import parity

    python = python_of(chosen.peer_venv)
    result = {}
    for name, same, deviation in (
        ("same noise, LeRobot's scale as a deviation", True, True),
        ("same noise", True, False),
        ("noise of their own", False, False),
    ):
        result[name] = parity(python, chosen.iterations, same_noise=same, deviation=deviation)
        print(name)
        for row in result[name]:
            print("  ", {key: float(f"{value:.3g}") for key, value in row.items()})
        save(chosen.out / "parity.json", result)


def _time(chosen: argparse.Namespace) -> None:
    from iteration import pinned, seconds

    python = python_of(chosen.peer_venv)
    if not chosen.threads:
        for threads in (1, 2):
            arguments = ["time", "--peer-venv", str(chosen.peer_venv), "--out", str(chosen.out)]
            arguments += ["--rounds", str(chosen.rounds), "--device", chosen.device]
            arguments += ["--compiled"] * chosen.compiled
            pinned(threads, arguments)
        return
    result = seconds(python, chosen.threads, chosen.rounds, chosen.device, compiled=chosen.compiled)
    print(json.dumps({k: v for k, v in result.items() if k != "rounds_ms"}, indent=1))
    save(chosen.out / f"time_{chosen.device}_{chosen.threads}.json", result)


def _learn(chosen: argparse.Namespace) -> None:
    # One thread for either learner: they work at the same time.
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    from task import Plan, run

    python = python_of(chosen.peer_venv)
    for seed in chosen.seeds:
        for driver in chosen.drivers:
            name = f"learn_{chosen.task}_{driver.replace(' ', '-')}_s{seed}.json"
            path = chosen.out / name
            if path.exists() and json.loads(path.read_text())["complete"]:
                continue
            plan = Plan(
                chosen.task, chosen.reset_range, chosen.steps, seed, driver, tuple(chosen.extras)
            )
            run(plan, python, functools.partial(save, path))


def _report(chosen: argparse.Namespace) -> None:
    from report import figure, tables

    print(tables(chosen.out))
    figure(chosen.out, chosen.out.parents[1] / "images" / "peers.png")


def save(path: Path, result: Any) -> None:
    """JSON, readable."""
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
