"""Whether two trees of this repository train the same: hashes of what short runs do and learn.

    python benchmarks/same_bytes.py --write before.json     # in the tree before a change
    python benchmarks/same_bytes.py --against before.json   # in the tree after it

A change of structure must not change a number. Each cell is a run of the command line; its hash is
of every stored action, reward and observation, and of the values of all exported parameters,
whatever they are called.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from safetensors.numpy import load_file

AGENTS = ("silri", "hil_serl", "hg_dagger", "bc")
TASKS = ("drawer-open", "pick-place", "assembly")
STEPS = 300  # online; enough for several episodes, takeovers and two hundred updates


def run(agent: str, task: str, seed: int, steps: int, folder: Path) -> None:
    """Train one cell into ``folder``."""
    command = [sys.executable, "-m", "silri.cli.main", "train", "--agent", agent]
    command += ["--env", f"metaworld/{task}-v3", "--operator", "heterogeneous"]
    command += ["--seed", str(seed), "--out", str(folder), "--data.demos", "4"]
    command += ["--steps", "0" if agent == "bc" else str(steps)]
    command += ["--evaluation.episodes", "4", "--evaluation.every", str(steps)]
    threads = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    result = subprocess.run(
        command,
        env=os.environ | {"XLA_FLAGS": threads},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise SystemExit(f"{' '.join(command)}\n{result.stdout}\n{result.stderr}")


def digest(folder: Path) -> dict[str, str]:
    """Hashes of a run: what it did, and what it has learned."""
    did, learned = hashlib.sha256(), hashlib.sha256()
    for path in sorted((folder / "episodes" / "data").rglob("*.parquet")):
        table = pq.read_table(path)
        for name in ("action", "observation.state", "next.reward"):
            if name in table.column_names:
                did.update(np.asarray(table[name].to_pylist(), np.float32).tobytes())
    arrays = load_file(folder / "policy" / "policy.safetensors").values()
    # Scalars are counters and seeds; a tree that keeps another of them learns the same.
    for leaf in sorted(array.tobytes() for array in arrays if array.ndim):
        learned.update(leaf)
    return {"did": did.hexdigest(), "learned": learned.hexdigest()}


def main() -> None:
    """Run the cells, then write their hashes or compare them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="file for the hashes")
    parser.add_argument("--against", type=Path, help="file of the hashes to compare with")
    parser.add_argument("--agents", nargs="+", default=AGENTS)
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    before = json.loads(options.against.read_text()) if options.against else {}
    hashes, differ = {}, []
    for agent in options.agents:
        for task in options.tasks:
            for seed in options.seeds:
                name = f"{agent}/{task}/{seed}"
                with tempfile.TemporaryDirectory() as folder:
                    run(agent, task, seed, options.steps, Path(folder) / "run")
                    hashes[name] = digest(Path(folder) / "run")
                same = before.get(name) == hashes[name]
                differ += [name] if before and not same else []
                print(name, hashes[name]["did"][:12], hashes[name]["learned"][:12], end=" ")
                print(("same" if same else "DIFFERENT") if before else "", flush=True)
    if options.write:
        options.write.write_text(json.dumps(hashes, indent=1))
    if differ:
        raise SystemExit(f"{len(differ)} of {len(hashes)} differ: {', '.join(differ)}")


if __name__ == "__main__":
    main()
