"""What a GPU changes: seconds, and results.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --parts agreement --out docs/results/gpu/agreement.json

One process, one machine, its CPU and its GPU in turns: a learner iteration at several batch sizes
with the batch coming from the host, as in training; one decision; and how far the two devices are
apart after iterations on the same batches with the same random draws, in TF32 (JAX's default on
such a card) and in float32. ``--parts``, ``--agents`` and ``--precisions`` leave out the rest:
pieces of ``agreement`` may run at the same time, timings not. Without a GPU it says so and ends;
``--smoke`` is a few small measurements to see that it works, with the CPU in place of a GPU that
is not there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from silri.agents.base import Agent, AgentConfig
from silri.agents.registry import load_agent
from silri.core.specs import ActionSpec, ArraySpec, EnvSpec
from silri.core.transition import Batch, fake_batch
from silri.runtime.starting.backend import prepare_jax

SPEC = EnvSpec(
    "benchmark",
    {"state": ArraySpec((8,)), "environment_state": ArraySpec((31,))},
    ActionSpec(4, (3,)),
    100,
)
PARTS = ("iteration_ms", "decision_ms", "agreement")
AGENTS = ("silri", "hil_serl")
BATCHES = (128, 1024, 4096)
MARKS = (1, 10, 100)  # iterations after which the devices are compared
ITERATIONS, DECISIONS = 3, 50  # per round
PRECISIONS = {"TF32": "default", "float32": "highest"}  # of jax_default_matmul_precision
PROBES = 512  # held-out rows that the devices are compared on


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path, help="default, of all parts: docs/results/gpu/gpu.json")
    parser.add_argument("--smoke", action="store_true", help="small: nothing to quote; needs --out")
    everything = {"parts": PARTS, "agents": AGENTS, "precisions": tuple(PRECISIONS)}
    for name, values in everything.items():
        parser.add_argument(f"--{name}", nargs="+", choices=values, default=values)
    chosen = parser.parse_args()
    for name, values in everything.items():
        if chosen.out is None and set(getattr(chosen, name)) != set(values):
            parser.error(f"--{name} needs --out: the default file holds all of them")
    if chosen.smoke and chosen.out is None:
        parser.error("--smoke needs --out: the default file holds measurements")
    rounds, batches, marks = chosen.rounds, BATCHES, MARKS
    if chosen.smoke:
        rounds, batches, marks = 1, (16,), (1, 2)
    out = chosen.out or Path("docs/results/gpu/gpu.json")
    prepare_jax()  # with several at once none may take the memory of all
    gpus = [device for device in jax.devices() if device.platform == "gpu"]
    if chosen.smoke and not gpus:
        gpus = jax.devices("cpu")
    if not gpus:
        raise SystemExit(
            f"no GPU: JAX has {jax.devices()}; pip install 'silri[cuda13]' on a machine with one"
        )
    devices = {"cpu": jax.devices("cpu")[0], "gpu": gpus[0]}
    result: dict[str, Any] = {
        "gpu": gpus[0].device_kind,
        "cores": len(os.sched_getaffinity(0)),
        "jax": jax.__version__,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    measures: dict[str, Callable[[], Any]] = {
        "iteration_ms": lambda: iterations(chosen.agents, devices, rounds, batches),
        "decision_ms": lambda: decisions(chosen.agents, devices, rounds),
        "agreement": lambda: agreement(chosen.agents, devices, chosen.precisions, marks),
    }
    for name in chosen.parts:
        result[name] = measures[name]()
        print(name, json.dumps(result[name], indent=1), flush=True)
        out.write_text(json.dumps(result, indent=1) + "\n")


def iterations(
    names: Sequence[str], devices: dict[str, Any], rounds: int, batches: Sequence[int]
) -> dict[str, dict[str, dict[str, float]]]:
    """Milliseconds of an iteration: agent and batch size -> device -> best and median round."""
    table = {}
    for name in names:
        for size in batches:
            calls = {
                label: _iterate(_agent(name, device, size), size)
                for label, device in devices.items()
            }
            table[f"{name} {size}"] = _rounds(calls, rounds, ITERATIONS)
    return table


def _iterate(agent: Agent, size: int) -> Callable[[], None]:
    """Three batches in turn; the host's arrays, as the replay hands them over."""
    shape, columns = (agent.config.utd, size), agent.config.columns
    batches = [fake_batch(SPEC, shape, seed=index, columns=columns) for index in range(3)]
    state = {"agent": agent, "count": 0}

    def call() -> None:
        state["agent"], info = state["agent"].update(batches[state["count"] % 3])
        state["count"] += 1
        jax.block_until_ready((state["agent"], info))

    return call


def decisions(
    names: Sequence[str], devices: dict[str, Any], rounds: int
) -> dict[str, dict[str, dict[str, float]]]:
    """Milliseconds of ``act`` with the device idle: agent -> device -> best and median round."""
    table = {}
    for name in names:
        calls = {label: _act(_agent(name, device, BATCHES[0])) for label, device in devices.items()}
        table[name] = _rounds(calls, rounds, DECISIONS)
    return table


def _act(agent: Agent) -> Callable[[], None]:
    observation = {key: value[0] for key, value in fake_batch(SPEC, (1,)).observation.items()}
    steps = iter(range(10**9))
    return lambda: agent.act(observation, episode=0, step=next(steps), explore=True)[1] and None


def _rounds(
    calls: dict[str, Callable[[], None]], rounds: int, count: int
) -> dict[str, dict[str, float]]:
    """Candidates take turns, so that whatever disturbs the machine disturbs all of them."""
    for call in calls.values():
        for _ in range(2):  # compiled, then warm
            call()
    taken: dict[str, list[float]] = {label: [] for label in calls}
    for _ in range(rounds):
        for label, call in calls.items():
            started = time.perf_counter()
            for _ in range(count):
                call()
            taken[label].append(1e3 * (time.perf_counter() - started) / count)
    return {
        label: {"best": min(values), "median": statistics.median(values)}
        for label, values in taken.items()
    }


def agreement(
    names: Sequence[str],
    devices: dict[str, Any],
    precisions: Sequence[str],
    marks: Sequence[int],
) -> dict[str, dict[str, list[dict[str, float]]]]:
    """Mean actions on held-out observations: root mean square differences, beside the spread."""
    return {
        name: {label: _apart(name, devices, PRECISIONS[label], marks) for label in precisions}
        for name in names
    }


def _apart(
    name: str, devices: dict[str, Any], precision: str, marks: Sequence[int]
) -> list[dict[str, float]]:
    with jax.default_matmul_precision(precision):
        agents = {label: _agent(name, device, 256) for label, device in devices.items()}
        probe = fake_batch(SPEC, (PROBES,), seed=10**6).observation
        rows = []
        for count in range(1, marks[-1] + 1):
            batch = _learnable(count, agents["cpu"].config)
            agents = {label: agent.update(batch)[0] for label, agent in agents.items()}
            if count in marks:
                means = {
                    label: agent.act_deterministic(probe)[:, :3] for label, agent in agents.items()
                }
                difference = means["gpu"] - means["cpu"]
                rows.append(
                    {
                        "iterations": count,
                        "rms": float(np.sqrt(np.mean(difference**2))),
                        "spread": float(means["cpu"].std()),
                    }
                )
        return rows


def _learnable(seed: int, config: AgentConfig) -> Batch:
    batch = fake_batch(SPEC, (config.utd, 256), seed=seed, columns=config.columns)
    reward = 3.0 * batch.observation["state"][..., 0] * batch.action[..., 0]
    return batch._replace(reward=reward.astype(np.float32))


def _agent(name: str, device: Any, size: int) -> Agent:
    entry = load_agent(name)
    config = replace(entry.preset().config, batch_size=size)
    return jax.device_put(entry.agent.create(config, SPEC, 0), device)


if __name__ == "__main__":
    main()
