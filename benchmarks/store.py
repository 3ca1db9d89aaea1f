"""What storing costs: an episode's commit (cameras too), a batch, a checkpoint (against orbax).

Usage::

    python benchmarks/store.py [FOLDER]     # FOLDER on the disk that is to be measured
    python benchmarks/store.py --count 20   # a glance
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from silri.core.seeding import Stream, rng
from silri.core.specs import ActionSpec, ArraySpec, EnvSpec
from silri.data.episode import Episode
from silri.data.mixer import Mixer
from silri.data.replay import Replay
from silri.store.store import EpisodeStore

SPEC = EnvSpec(
    name="benchmark",
    observation={"state": ArraySpec((8,)), "environment_state": ArraySpec((31,))},
    action=ActionSpec(4, gripper=(3,)),
    max_episode_steps=100,
)
DIAGNOSTICS = ("lambda", "bound", "distance", "human_std", "q_policy", "q_human")
STEPS = 100


IMAGE_SPEC = dataclasses.replace(
    SPEC,
    observation={
        **SPEC.observation,
        "images.front": ArraySpec((128, 128, 3), "uint8"),
        "images.wrist": ArraySpec((128, 128, 3), "uint8"),
    },
)


def camera(number: int, count: int, side: int = 128) -> np.ndarray:
    """What a camera may see: a gradient, four discs that move, sensor noise; (count, H, W, 3)."""
    generator = np.random.default_rng(number)
    y, x = np.mgrid[:side, :side]
    background = np.stack([x * 1.2 + 40, y * 1.1 + 60, (x + y) * 0.6 + 30], -1)
    frames = np.empty((count, side, side, 3), np.uint8)
    for t in range(count):
        frame = background.copy()
        for k in range(4):
            centre = 64 + 40 * np.cos(t / 15 + k * 1.7), 64 + 40 * np.sin(t / 11 + k + number)
            disc = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < (6 + 3 * k) ** 2
            frame[disc] = [90 * k % 255, (200 - 50 * k) % 255, (60 + 70 * k) % 255]
        frames[t] = np.clip(frame + generator.normal(0, 2, frame.shape), 0, 255)
    return frames


def make_image_episode(number: int) -> Episode:
    """The same with two cameras of 128 x 128."""
    episode = make_episode(number, demo=True)
    seen = {
        key: camera(number + shift, STEPS + 1)
        for shift, key in enumerate(("images.front", "images.wrist"))
    }
    return dataclasses.replace(episode, observations={**episode.observations, **seen})


def make_episode(number: int, *, demo: bool) -> Episode:
    """100 steps with all columns, 39 observation dimensions."""
    generator = np.random.default_rng(number)
    human = np.full(STEPS, True) if demo else generator.random(STEPS) < 0.3
    action = generator.uniform(-1, 1, (STEPS, 4)).astype(np.float32)
    zeros = np.zeros(STEPS, np.float32)
    return Episode(
        episode_id=number,
        observations={
            key: generator.standard_normal((STEPS + 1, *array.shape)).astype(np.float32)
            for key, array in SPEC.observation.items()
        },
        frames={
            "action": action,
            "policy_action": action,
            "human_action": np.where(human[:, None], action, np.float32(np.nan)),
            "human_weight": human.astype(np.float32),
            "reward": zeros - 0.05,
            "terminated": np.zeros(STEPS, np.bool_),
            "truncated": np.arange(STEPS) == STEPS - 1,
            "is_intervention": human,
            "grasp_penalty": zeros,
            "policy_version": np.arange(STEPS),
        },
        diagnostics={} if demo else dict.fromkeys(DIAGNOSTICS, zeros),
        success=False,
        is_demo=demo,
        seed=number,
        task="benchmark",
        operator="heterogeneous",
    )


def timed(name: str, unit: str, run: Callable[[int], object], count: int) -> None:
    """Print the median, the best and the worst of ``count`` runs."""
    scale = {"us": 1e6, "ms": 1e3}[unit]
    times = []
    for number in range(count):
        started = time.perf_counter()
        run(number)
        times.append((time.perf_counter() - started) * scale)
    print(
        f"{name:48s} median {statistics.median(times):8.1f} {unit}"
        f"   min {min(times):8.1f}   max {max(times):8.1f}"
    )


def episodes(folder: Path, count: int) -> None:
    """Commit, read, open."""
    made = [make_episode(number, demo=number < count // 10) for number in range(count)]
    with EpisodeStore(folder / "episodes", folder / "quarantine", SPEC, DIAGNOSTICS) as store:
        timed("commit of a 100-step episode", "ms", lambda n: store.commit(made[n]), count)
        timed("read and verify an episode", "ms", store.read, count)
    started = time.perf_counter()
    EpisodeStore(folder / "episodes", folder / "quarantine", SPEC, DIAGNOSTICS).close()
    print(
        f"{'open and verify ' + str(count) + ' episodes':48s} {time.perf_counter() - started:.2f} s"
    )


def image_episodes(folder: Path, count: int) -> None:
    """The same with two cameras."""
    made = [make_image_episode(number) for number in range(count)]
    place = folder / "images"
    with EpisodeStore(place, folder / "quarantine", IMAGE_SPEC) as store:
        timed("commit of 100 steps with 2 cameras", "ms", lambda n: store.commit(made[n]), count)
        timed("read and verify it", "ms", store.read, count)
    size = sum(path.stat().st_size for path in place.rglob("*.parquet")) / count
    raw = sum(value.nbytes for value in made[0].observations.values())
    print(f"{'an episode on disk':48s} {size / 1e6:.1f} MB, in memory {raw / 1e6:.1f} MB")
    started = time.perf_counter()
    EpisodeStore(place, folder / "quarantine", IMAGE_SPEC).close()
    print(f"{f'open and verify {count} of them':48s} {time.perf_counter() - started:.2f} s")


def batches(count: int) -> None:
    """Replay and mixer with the rows of ``count`` episodes."""
    mixer = Mixer(Replay(100_000, SPEC), Replay(100_000, SPEC), 256)
    made = [make_episode(number, demo=number < count // 25) for number in range(count)]
    timed("add an episode to the replays", "us", lambda n: mixer.add(made[n]), count)
    many = 6 * count
    draws = [rng(0, Stream.REPLAY, number) for number in range(many)]
    timed("replay sample (2, 128)", "us", lambda n: mixer.online.sample(draws[n], (2, 128)), many)
    timed("mixer sample (2, 256)", "us", lambda n: mixer.sample(draws[n], 2), many)


def checkpoints(folder: Path) -> None:
    """40 arrays, 5 MB: ours against orbax, import times included."""
    import jax

    from silri.runtime.keeping.checkpoint import CheckpointStore

    generator = np.random.default_rng(0)
    tree = {
        f"network_{n}": {
            "kernel": jax.numpy.asarray(generator.standard_normal((256, 244)), "float32"),
            "bias": jax.numpy.asarray(generator.standard_normal(256), "float32"),
        }
        for n in range(20)
    }
    leaves = jax.tree.leaves(tree)
    print(f"{len(leaves)} arrays, {sum(leaf.nbytes for leaf in leaves) / 1e6:.1f} MB:")
    store = CheckpointStore(folder / "ours")
    timed("  silri save (fsync, pruning)", "ms", lambda n: store.save(n, tree, {}), 10)
    timed("  silri verify and load", "ms", lambda n: store.load_newest(tree), 10)
    for module in ("safetensors.numpy", "orbax.checkpoint"):
        code = f"import jax, time; t = time.time(); import {module}; print(time.time() - t)"
        try:
            done = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True
            )
        except subprocess.CalledProcessError:
            print(f"  {module} is not installed: pip install orbax-checkpoint==0.12.8")
            return
        print(f"{'  import ' + module + ' (after jax)':48s} {float(done.stdout) * 1e3:8.1f} ms")
    import orbax.checkpoint

    target = jax.tree.map(orbax.checkpoint.utils.to_shape_dtype_struct, tree)
    with orbax.checkpoint.StandardCheckpointer() as orbax_store:

        def save(number: int) -> None:
            orbax_store.save((folder / f"orbax_{number}").absolute(), tree)
            orbax_store.wait_until_finished()

        def load(number: int) -> None:
            path = (folder / f"orbax_{number}").absolute()
            jax.block_until_ready(orbax_store.restore(path, target))

        timed("  orbax save (no fsync, no pruning)", "ms", save, 10)
        timed("  orbax load (nothing verified)", "ms", load, 10)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", help="default: the system's folder for such files")
    parser.add_argument("--count", type=int, default=500, help="episodes; two fifths on disk")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        episodes(Path(folder), chosen.count * 2 // 5)
        image_episodes(Path(folder), max(2, chosen.count // 50))
        batches(chosen.count)
        checkpoints(Path(folder))


if __name__ == "__main__":
    main()
