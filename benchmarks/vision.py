"""What seeing costs: memory and disk per transition, a decision, a learner iteration.

Two cameras of 128 x 128 on Meta-World's drawer: frozen features (the default), the frozen encoder's
whole maps, frames for an encoder that learns, and no cameras. One process per way, so that memory
is what the operating system says and not what we compute.

Usage::

    taskset -c 0 python benchmarks/vision.py
    python benchmarks/vision.py --ways vector features --rounds 3 --episodes 2  # a glance
    python benchmarks/vision.py --out FILE.json
    python benchmarks/vision.py --picture docs/images/cameras.png  # what the cameras see
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

ENV = "metaworld/drawer-open-v3"
WAYS = ("vector", "features", "maps", "frames")
PAGE = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def median_ms(call: Callable[[], Any], rounds: int) -> float:
    """Of ``rounds`` calls, after one that compiles."""
    call()
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        taken.append((time.perf_counter() - start) * 1e3)
    return statistics.median(taken)


def measure(way: str, episodes: int, rounds: int) -> dict[str, float]:
    """One way of seeing, in this process."""
    import jax
    import numpy as np

    from silri.agents.registry import load_agent
    from silri.configs.run import RunConfig
    from silri.core.transition import fake_batch
    from silri.data.mixer import Mixer
    from silri.data.replay import Replay
    from silri.data.statistics import observation_statistics
    from silri.store.store import EpisodeStore
    from silri.vision.config import VisionConfig
    from silri.vision.sight import Sight
    from silri.vision.sighted import Sighted

    config = RunConfig.from_preset("silri", env_name=ENV)
    kind = "vector" if way == "vector" else "pixels"
    config = replace(
        config,
        env=replace(config.env, observation=kind),
        vision=VisionConfig() if way == "vector" else VisionConfig(keep=way),
    )
    env = config.create_env()
    spec = env.env_spec
    demos = [demonstration(env, number) for number in range(episodes)]
    env.reset(seed=999)
    still = np.zeros(spec.action.size, np.float32)
    steps = min(rounds, spec.max_episode_steps - 2)
    result = {"env_step_ms": median_ms(lambda: env.step(still), steps)}  # pictures included

    with tempfile.TemporaryDirectory() as folder:
        store = EpisodeStore(Path(folder) / "episodes", Path(folder) / "aside", spec, ())
        for each in demos:
            store.commit(each)
        store.close()
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    steps = sum(map(len, demos))
    result["disk_kb_per_step"] = size / steps / 1e3

    sight = Sight(config.vision, spec)
    sight.fit(demos)
    seen = [sight.episode(each) for each in demos]
    agent = load_agent("silri").agent.create(config.agent, sight.seen, 0, config.augment)
    agent = agent.normalised_by(observation_statistics(seen))
    acting = Sighted(agent, sight)
    fresh = fresh_observations(env, rounds + 1, 1000)
    result["encode_ms"] = median_ms(lambda: sight(next(fresh)), rounds) if kind == "pixels" else 0.0
    fresh = fresh_observations(env, rounds + 1, 2000)
    result["decision_ms"] = median_ms(
        lambda: acting.act(next(fresh), episode=0, step=0, explore=True), rounds
    )
    batch = fake_batch(
        sight.seen, (config.agent.utd, config.agent.batch_size), columns=config.agent.columns
    )
    result["iteration_ms"] = median_ms(
        lambda: jax.block_until_ready(agent.update(batch)[1]), max(1, rounds // 5)
    )
    env.close()

    mixer = Mixer(Replay(200_000, sight.seen), Replay(1, sight.seen), 128)
    # Enough that what the allocator had left over does not count.
    wanted = 100_000 if way in ("vector", "features") else 5_000
    generator, added = np.random.default_rng(0), 0
    before = resident()
    while added < wanted:
        each = seen[int(generator.integers(len(seen)))]
        mixer.online.add(each)
        added += len(each)
    result["ram_kb_per_step"] = (resident() - before) / added / 1e3
    return result


def demonstration(env: Any, number: int) -> Any:
    """An episode that the scripted expert drives."""
    from silri.core.transition import Transition
    from silri.data.episode import EpisodeBuilder

    spec = env.env_spec
    builder = EpisodeBuilder(spec, number, True, number, spec.name, "expert")
    observation, _ = env.reset(seed=number)
    over, info = False, {"success": False}
    while not over:
        action = spec.action.snap(env.privileged().expert_action)
        following, reward, terminated, truncated, info = env.step(action)
        step = len(builder)
        builder.add(
            Transition(
                *(observation, action, action, action, 1.0, reward, following),
                *(terminated, truncated, True, 0.0, number, step, 0),
            ),
            {},
        )
        observation, over = following, terminated or truncated
    return builder.build(success=info["success"])


def fresh_observations(env: Any, count: int, seed: int) -> Iterator[Any]:
    """Observations of which none was seen before, made beforehand."""
    rows = [env.reset(seed=seed)[0]]
    while len(rows) < count:
        action = env.env_spec.action.snap(env.privileged().expert_action * 0.3)
        observation, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            seed += 1
            observation = env.reset(seed=seed)[0]
        rows.append(observation)
    return iter(rows)


def picture(path: Path) -> None:
    """Both cameras, in the middle of an expert's episode of three tasks."""
    import numpy as np
    from PIL import Image

    from silri.envs.registry import create_env, find_env

    rows = []
    for task, steps in (("drawer-open", 22), ("button-press-topdown", 18), ("pick-place", 12)):
        name = f"metaworld/{task}-v3"
        env = create_env(name, replace(find_env(name).preset().config, observation="pixels"))
        observation, _ = env.reset(seed=3)
        for _ in range(steps):
            action = env.env_spec.action.snap(env.privileged().expert_action)
            observation = env.step(action)[0]
        rows.append(np.concatenate([observation[f"images.{c}"] for c in ("front", "wrist")], 1))
        env.close()
    wide = Image.fromarray(np.concatenate(rows, axis=1))
    wide.resize((wide.width * 3 // 2, wide.height * 3 // 2), Image.Resampling.LANCZOS).save(path)


def main() -> None:
    """Measure every way in a process of its own and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--ways", choices=WAYS, nargs="+", default=WAYS)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--picture", type=Path)
    chosen = parser.parse_args()
    if chosen.picture:
        picture(chosen.picture)
        return
    if chosen.way:
        print(json.dumps(measure(chosen.way, chosen.episodes, chosen.rounds)))
        return
    found = {}
    for way in chosen.ways:
        command = [sys.executable, __file__, "--way", way, "--episodes", str(chosen.episodes)]
        command += ["--rounds", str(chosen.rounds)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found[way] = json.loads(done.stdout.splitlines()[-1])
    print(f"{'':18}" + "".join(f"{way:>10}" for way in found))
    for name in next(iter(found.values())):
        print(f"{name:18}" + "".join(f"{each[name]:10.2f}" for each in found.values()))
    if chosen.out:
        chosen.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
