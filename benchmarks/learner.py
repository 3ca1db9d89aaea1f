"""How fast a training step is, and what it is spent on.

    pip install -e '.[bench]' && python benchmarks/learner.py [--threads 1]

Prints one SiLRI learner iteration (UTD 2, batch 256, 256x256, expert, gripper and multiplier
included) beside the same in eager PyTorch and beside the machine's own matrix-product rate, what
everything else in an environment step costs, and how often anything is compiled after warm-up.
Rounds of all candidates are interleaved and the best round of each is compared, because machines
are noisy: quote the ratios.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=0, help="1: one thread for both; 0: all")
    parser.add_argument("--rounds", type=int, default=20)
    chosen = parser.parse_args()
    if chosen.threads == 1:
        os.environ["XLA_FLAGS"] = (
            "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        )
    learner(chosen.threads, chosen.rounds)
    everything_else()


def best_of(candidates: dict[str, tuple[Callable[[], Any], int]], rounds: int) -> dict[str, float]:
    """Seconds per call of each candidate's best round; rounds are interleaved."""
    best = dict.fromkeys(candidates, float("inf"))
    for _ in range(rounds):
        for name, (call, count) in candidates.items():
            started = time.perf_counter()
            for _ in range(count):
                call()
            best[name] = min(best[name], (time.perf_counter() - started) / count)
    return best


def learner(threads: int, rounds: int) -> None:
    """One iteration against PyTorch and against matrix products."""
    import jax

    from silri.agents.registry import load_agent
    from silri.core.transition import fake_batch

    spec = _spec()
    candidates: dict[str, tuple[Callable[[], Any], int]] = {}
    flops = {}
    for name in ("silri", "hil_serl"):
        entry = load_agent(name)
        # The first setting is what was mirrored in PyTorch; batches of 256, as published.
        preset = entry.presets["first" if name == "silri" else "default"]
        config = replace(preset.config, batch_size=256)
        agent = entry.agent.create(config, spec, None, 0)
        batch = fake_batch(spec, (config.utd, config.batch_size))
        holder = [agent]

        def iterate(holder: list = holder, batch: Any = batch) -> None:
            holder[0], _ = holder[0].update(batch)
            jax.block_until_ready(holder[0])

        iterate()
        candidates[name] = (iterate, 5)
        flops[name] = _iteration_flops(name)

    size, repeats = 256, 50
    x = jax.random.normal(jax.random.key(0), (size, size))
    chain = jax.jit(lambda y: jax.lax.fori_loop(0, repeats, lambda _, z: (z @ x) * 0.05, y))
    jax.block_until_ready(chain(x))
    candidates["matmul"] = (lambda: jax.block_until_ready(chain(x)), 2)

    torch_update = _torch_update(fake_batch(spec, (2, 256)), threads)
    if torch_update is not None:
        torch_update()
        candidates["torch"] = (torch_update, 5)

    seconds = best_of(candidates, rounds)
    rate = repeats * 2 * size**3 / seconds["matmul"]
    print(f"matrix products of 256x256 (float32): {rate / 1e9:.0f} GFLOP/s")
    for name, count in flops.items():
        achieved = count / seconds[name]
        print(
            f"{name} iteration: {seconds[name] * 1e3:.2f} ms, {count / 1e9:.2f} GFLOP of products, "
            f"{achieved / rate:.0%} of that rate"
        )
    if "torch" in seconds:
        print(
            f"the same silri iteration in eager PyTorch: {seconds['torch'] * 1e3:.2f} ms; "
            f"ratio {seconds['silri'] / seconds['torch']:.2f}"
        )
    else:
        print("PyTorch is not installed: pip install -e '.[bench]'")


def everything_else() -> None:
    """Run a short training and split its wall time; count compilations after warm-up."""
    import jax

    from silri.configs.run import DataConfig, EvaluationConfig, RunConfig
    from silri.core.events import EpisodeFinished, Event
    from silri.runtime import learn as learn_module
    from silri.runtime import local
    from silri.runtime.folder import RunFolder

    spent = {"act": 0.0, "learner": 0.0, "env": 0.0, "sample": 0.0}
    compilations: list[tuple[int, str]] = []
    state = {"episodes": 0}

    class Watch:
        def on_event(self, event: Event) -> None:
            if isinstance(event, EpisodeFinished):
                state["episodes"] += 1

    def on_duration(name: str, _: float, **__: Any) -> None:
        if name == "/jax/core/compile/backend_compile_duration":
            compilations.append((state["episodes"], name))

    jax.monitoring.register_event_duration_secs_listener(on_duration)
    config = RunConfig.from_preset(
        steps=1_500, evaluation=EvaluationConfig(every=10**9, episodes=1), data=DataConfig()
    )
    with tempfile.TemporaryDirectory() as folder:
        run = local.LocalRun(
            config,
            RunFolder.create(Path(folder) / "run", config),
            evaluate=lambda agent: {
                "success_rate": 0.0,
                "successes": 0.0,
                "episodes": 1.0,
                "mean_success_length": 0.0,
            },
            summarise=lambda config, state: {},
            subscribers=[Watch()],
        )
        started: dict[str, float] = {}
        agent_type = run._entry.agent

        def timed(name: str, function: Callable, wait: bool = False) -> Callable:
            def call(*arguments: Any, **keywords: Any) -> Any:
                begin = time.perf_counter()
                result = function(*arguments, **keywords)
                if wait:
                    jax.block_until_ready(result)
                if state["episodes"] >= 5:
                    spent[name] += time.perf_counter() - begin
                    started.setdefault("from", begin)
                return result

            return call

        run.env.step = timed("env", run.env.step)
        run.mixer.sample = timed("sample", run.mixer.sample)
        agent_type.act = timed("act", agent_type.act)
        original = learn_module.learn
        local.learn = timed("learner", original, wait=True)
        counted = run._count_step
        steps = [0]

        def count() -> None:
            counted()
            steps[0] += state["episodes"] >= 5

        run._count_step = count
        run.run()
        total = time.perf_counter() - started["from"]
        local.learn = original
    learner_s = spent["learner"] - spent["sample"]
    other = total - learner_s - spent["env"] - spent["act"]
    step = total / steps[0]
    print(f"\na training step, nothing overlapped, over {steps[0]} steps: {step * 1e3:.2f} ms")
    for name, value in (
        ("learner iteration", learner_s),
        ("environment", spent["env"]),
        ("policy", spent["act"]),
        ("everything else (operator, arbiter, folding, replay, logging, store)", other),
    ):
        print(f"  {value / total:6.1%}  {value / steps[0] * 1e3:6.3f} ms  {name}")
    late = [entry for entry in compilations if entry[0] >= 5]
    print(f"compilations after the fifth episode: {len(late)}")


def _spec() -> Any:
    from silri.core.specs import ActionSpec, ArraySpec, EnvSpec

    observation = {"state": ArraySpec((8,)), "environment_state": ArraySpec((31,))}
    return EnvSpec("benchmark", observation, ActionSpec(4, (3,)), 100)


def _iteration_flops(agent: str) -> float:
    """Products of one iteration by hand: 2 m n k each; what is computed twice counts once."""
    rows, f, d, h = 256, 39, 3, 256

    def forward(size: int, out: int, n: int = rows) -> float:
        return 2.0 * n * (size * h + h * h + h * out)

    def backward(size: int, out: int, n: int = rows) -> float:
        return forward(size, out, n) + 2.0 * n * (h * h + h * out)  # weights, then hidden inputs

    def to_action(n: int = rows) -> float:  # gradient of a critic with respect to its action
        return 2.0 * n * (d * h + h * h + h)

    critic = 2 * (forward(f + d, 1) + backward(f + d, 1))  # two members
    targets = forward(f, d) + 2 * forward(f + d, 1)
    through_critic = 2 * (forward(f + d, 1) + to_action())
    if agent == "hil_serl":
        grasp = 3 * forward(f, 2) + backward(f, 2)
        actor = forward(f, 2 * d) + backward(f, 2 * d) + through_critic
        return 2 * (critic + targets + forward(f, d) + grasp) + actor
    expert = forward(f, 2 * d, rows // 2) + backward(f, 2 * d, rows // 2)
    actor = forward(f, d) + backward(f, d) + through_critic + forward(f, 2 * d) + forward(f, 1)
    gripper = forward(f, 2) + backward(f, 2)
    multiplier = forward(f, d) + backward(f, 1)
    return 2 * (critic + targets) + expert + actor + gripper + multiplier


def _torch_update(batch: Any, threads: int) -> Callable[[], None] | None:
    try:
        import torch
        from torch_silri import TorchSiLRI
    except ImportError:
        return None
    import numpy as np

    if threads:
        torch.set_num_threads(threads)

    def features(observation: dict) -> np.ndarray:
        return np.concatenate([observation[key] for key in sorted(observation)], axis=-1)

    arrays = {
        "s": features(batch.observation),
        "s2": features(batch.next_observation),
        "a": batch.action[..., :3],
        "r": batch.reward,
        "mask": batch.mask,
        "human": batch.is_intervention,
        "g": (batch.action[..., 3] > 0).astype(np.int64),
    }
    tensors = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}
    learner = TorchSiLRI(39, 3)
    return lambda: learner.update(tensors)


if __name__ == "__main__":
    main()
