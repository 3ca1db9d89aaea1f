"""The learner iteration side by side: how far the two agree, and how long each takes."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from learners import EQUAL, LeRobot, Setting, Silri

from silri.core.seeding import Stream, rng
from silri.core.specs import ActionSpec, ArraySpec, EnvSpec
from silri.core.transition import Batch, fake_batch

VECTOR = EnvSpec("benchmark", {"state": ArraySpec((39,))}, ActionSpec(4, (3,)), 100)
PER_ROUND = 2  # iterations: few, so that some rounds are not interrupted by other programs
WARM_UP = 3  # rounds
# Wide enough for neither side's way of bounding the deviation to be felt.
UNBOUNDED = (1e-12, 1e8)


def parity(
    python: Path, iterations: int, *, same_noise: bool, deviation: bool
) -> list[dict[str, float]]:
    """Feed both the same batches and, if asked, the same Gaussian draws; how far apart are they?

    Every iteration has another random batch. The gripper's penalty is 0: LeRobot's loop drops it
    from the last critic step of each iteration.

    Returns:
        Rows at 1, 2, 5, 10, ... iterations: root mean square differences on a batch that nobody
        learns from, beside the standard deviation of what is compared.
    """
    setting = Setting(std_bounds=UNBOUNDED, deviation=deviation)
    ours = Silri(VECTOR, None, 0, setting)
    theirs = LeRobot(python, VECTOR, None, 0, setting)
    probe = _batch(10**6, (512,))
    rows = [_difference(0, ours, theirs, probe)]
    marks = {scale * step for scale in (1, 10, 100, 1000, 10000) for step in (1, 2, 5)}
    for iteration in range(1, iterations + 1):
        batch = _batch(iteration, (EQUAL.utd, EQUAL.batch_size))
        theirs.start(batch, ours.noise(EQUAL.batch_size) if same_noise else None)
        ours.start(batch)
        losses = theirs.finish(), ours.finish()
        if iteration in marks or iteration == iterations:
            row = _difference(iteration, ours, theirs, probe)
            for name in ("temperature", "actor_loss"):
                row[f"{name}_lerobot"], row[f"{name}_silri"] = (loss[name] for loss in losses)
            rows.append(row)
    theirs.peer.close()
    return rows


def _batch(index: int, shape: tuple[int, ...]) -> Batch:
    batch = fake_batch(VECTOR, shape, seed=index)
    # A reward that can be learned, and several units wide.
    reward = 3.0 * batch.observation["state"][..., 0] * batch.action[..., 0]
    zeros = np.zeros(shape, np.float32)
    return batch._replace(reward=reward.astype(np.float32), grasp_penalty=zeros)


def _difference(iteration: int, ours: Silri, theirs: LeRobot, probe: Batch) -> dict[str, float]:
    pairs = {"q": (ours.q(probe), theirs.q(probe))}
    mean, other = ours.mean(probe.observation), theirs.mean(probe.observation)
    pairs["action"] = mean[:, :3], other[:, :3]
    row: dict[str, float] = {"iteration": iteration}
    for name, (a, b) in pairs.items():
        row[f"{name}_rms"] = float(np.sqrt(np.mean((a - b) ** 2)))
        row[f"{name}_std"] = float(a.std())
    row["gripper_agrees"] = float(np.mean(mean[:, 3] == other[:, 3]))
    return row


def seconds(
    python: Path, threads: int, rounds: int, device: str, *, compiled: bool
) -> dict[str, Any]:
    """Wall and processor time of an iteration; every candidate in every round, in random order."""
    batch = fake_batch(VECTOR, (EQUAL.utd, EQUAL.batch_size))
    settings = {"lerobot": True, "lerobot with its encoder": False}
    peers = {
        f"{name}, compiled" if compile_ else name: LeRobot(
            python,
            VECTOR,
            None,
            0,
            Setting(equal, compiled=compile_, device=device, threads=threads),
        )
        for compile_ in ((False, True) if compiled else (False,))
        for name, equal in settings.items()
    }
    ours = {
        "silri": Silri(VECTOR, None, 0, Setting()),
        "silri as it is": Silri(VECTOR, None, 0, Setting(equal=False)),
    }
    on_device = jax.device_put(batch)  # LeRobot's is a tensor on its device, too
    wall: dict[str, list[float]] = {name: [] for name in (*ours, *peers)}
    processor: dict[str, list[float]] = {name: [] for name in wall}
    for number in range(-WARM_UP, rounds):
        for name in rng(0, Stream.UPDATE, number + WARM_UP).permutation(list(wall)):
            if name in peers:
                peers[name].start(batch, repeat=PER_ROUND)
                info = peers[name].finish()
                taken = info["seconds"], info["cpu_seconds"]
            else:
                taken = _ours(ours[name], on_device)
            if number >= 0:
                wall[name].append(taken[0])
                processor[name].append(taken[1])
    versions = {**peers["lerobot"].peer.versions, "jax": jax.__version__}
    for peer in peers.values():
        peer.peer.close()
    return {
        "threads": threads,
        "device": device,
        "backend": jax.default_backend(),
        "versions": versions,
        "best_ms": {name: 1e3 * min(values) for name, values in wall.items()},
        "median_ms": {name: 1e3 * statistics.median(v) for name, v in wall.items()},
        "median_cpu_ms": {name: 1e3 * statistics.median(v) for name, v in processor.items()},
        "silri_over": {
            name: {
                "best": min(wall["silri"]) / min(wall[name]),
                "median_of_rounds": _median_ratio(wall["silri"], wall[name]),
                "median_of_rounds_cpu": _median_ratio(processor["silri"], processor[name]),
            }
            for name in peers
        },
        "rounds_ms": {name: [round(1e3 * v, 3) for v in values] for name, values in wall.items()},
    }


def _median_ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def _ours(learner: Silri, batch: Batch) -> tuple[float, float]:
    started = time.perf_counter(), time.process_time()
    for _ in range(PER_ROUND):
        learner.start(batch)
        learner.finish()  # LeRobot's loop reads its losses in every iteration, too
    jax.block_until_ready(learner.agent)
    wall, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
    return wall / PER_ROUND, cpu / PER_ROUND


def pinned(threads: int, arguments: list[str]) -> None:
    """This script again, on ``threads`` cores: XLA sizes its pool by the cores it may use."""
    available = sorted(os.sched_getaffinity(0))
    if len(available) < threads:
        print(f"{threads} threads: only {len(available)} cores here; left out")
        return
    cores = set(available[:threads])
    script = str(Path(__file__).resolve().parent / "compare.py")
    subprocess.run(
        [sys.executable, script, *arguments, "--threads", str(threads)],
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
