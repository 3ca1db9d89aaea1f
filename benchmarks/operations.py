"""What one learner iteration of SiLRI's default is spent on, operation by operation.

    python benchmarks/operations.py [--batch 256]
    python benchmarks/operations.py --iterations 3        a glance

JAX's own profiler watches some iterations on one thread. Prints the time of an iteration, the
share of matrix products in it, and the largest other operations.
"""

from __future__ import annotations

import argparse
import collections
import gzip
import json
import os
import re
import tempfile
import time
from dataclasses import replace
from pathlib import Path

PRODUCTS = ("ynn_fusion", "dot")  # what XLA's CPU backend makes of matrix products


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--iterations", type=int, default=50)
    chosen = parser.parse_args()
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    seconds, operations = profiled(chosen.batch, chosen.iterations)
    total = sum(operations.values())
    products = sum(operations[name] for name in PRODUCTS)
    print(f"one iteration at batch {chosen.batch}: {1e3 * seconds:.2f} ms")
    print(f"{'operation':28} {'share':>6}")
    print(f"{'matrix products':28} {products / total:6.0%}")
    rest = ((name, value) for name, value in operations.most_common() if name not in PRODUCTS)
    for name, value in list(rest)[:8]:
        print(f"{name:28} {value / total:6.0%}")


def profiled(batch_size: int, iterations: int) -> tuple[float, collections.Counter[str]]:
    """Seconds of an iteration, and those of each kind of operation in it."""
    import jax

    from silri.agents.registry import load_agent
    from silri.core.specs import ActionSpec, ArraySpec, EnvSpec
    from silri.core.transition import fake_batch

    spec = EnvSpec(
        "benchmark/vectors",
        {"observation": ArraySpec((39,))},  # Meta-World's
        ActionSpec(4, (3,)),
        max_episode_steps=100,
        control_hz=10.0,
    )
    entry = load_agent("silri")
    config = replace(entry.preset().config, batch_size=batch_size)
    agent = entry.agent.create(config, spec, 0)
    batch = fake_batch(spec, (config.utd, batch_size), columns=config.columns)
    for _ in range(5):  # compile, and settle
        agent, _ = agent.update(batch)
    jax.block_until_ready(agent)
    started = time.perf_counter()
    for _ in range(iterations):
        agent, _ = agent.update(batch)
    jax.block_until_ready(agent)
    seconds = (time.perf_counter() - started) / iterations
    operations: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(iterations):
                agent, _ = agent.update(batch)
            jax.block_until_ready(agent)
        (trace,) = Path(folder).rglob("*.trace.json.gz")
        events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    for event in events:
        name = event.get("args", {}).get("hlo_op")
        if event.get("ph") == "X" and name and name != "while":
            operations[re.sub(r"[.\d]+$", "", name)] += event["dur"] / 1e6 / iterations
    return seconds, operations


if __name__ == "__main__":
    main()
