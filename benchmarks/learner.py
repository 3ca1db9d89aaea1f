"""How fast a training step is, and what it is spent on.

    pip install -e '.[bench]' && python benchmarks/learner.py [--threads 1]
    python benchmarks/learner.py --rounds 1 --warm-up 1 --steps 150        a glance

Prints one learner iteration of SiLRI's default (UTD 2, batch 128, 256x256, expert, gripper and
multiplier included) beside the same in eager PyTorch and beside the machine's own matrix-product
rate; ConRFT's offline iteration beside HIL-SERL's, and one decision of its consistency head; what
everything else in an environment step costs, and how often anything is compiled after warm-up. The
observations of the first comparison name no positions, so neither side moves any. Rounds of all
candidates are interleaved and the best round of each is compared, because machines are noisy: quote
the ratios.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=0, help="1: one thread for both; 0: all")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=1_500, help="of the training that is split")
    parser.add_argument("--warm-up", type=int, default=5, help="episodes before anything counts")
    chosen = parser.parse_args()
    if chosen.threads == 1:
        os.environ["XLA_FLAGS"] = (
            "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        )
    learner(chosen.threads, chosen.rounds)
    consistency(chosen.rounds)
    everything_else(chosen.steps, chosen.warm_up)


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
        config = load_agent(name).preset().config
        batch = fake_batch(spec, (config.utd, config.batch_size), columns=config.columns)
        candidates[name] = (_iteration(name, "default"), 5)
        flops[name] = _iteration_flops(name, config.batch_size)
        if name == "silri" and (torch_update := _torch_update(batch, threads)) is not None:
            torch_update()
            candidates["torch"] = (torch_update, 5)

    size, repeats = 256, 50
    x = jax.random.normal(jax.random.key(0), (size, size))
    chain = jax.jit(lambda y: jax.lax.fori_loop(0, repeats, lambda _, z: (z @ x) * 0.05, y))
    jax.block_until_ready(chain(x))
    candidates["matmul"] = (lambda: jax.block_until_ready(chain(x)), 2)

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


def consistency(rounds: int) -> None:
    """ConRFT: an offline iteration against HIL-SERL's, and one decision."""
    import numpy as np

    from silri.agents.registry import load_agent

    spec, chosen = _spec(), load_agent("conrft")
    agent = chosen.agent.create(chosen.preset().config, spec, 0)
    seen = {key: np.zeros(a.shape, np.float32) for key, a in spec.observation.items()}
    agent.act_deterministic(seen)
    names = {"default": ("default", "default"), "paper": ("published", "paper")}
    candidates: dict[str, tuple[Callable[[], Any], int]] = {
        "decision": (lambda: agent.act_deterministic(seen), 20)
    }
    for name, (rival, ours) in names.items():
        candidates[f"hil_serl {name}"] = (_iteration("hil_serl", rival), 2)
        candidates[f"conrft {name}"] = (_iteration("conrft", ours, "offline"), 2)
    seconds = best_of(candidates, rounds)
    for name, (rival, ours) in names.items():
        mine, theirs = seconds[f"conrft {name}"], seconds[f"hil_serl {name}"]
        print(
            f"conrft {ours}, offline iteration: {mine * 1e3:.2f} ms, "
            f"{mine / theirs:.1f} times that of hil_serl {rival}"
        )
    print(f"one decision of conrft: {seconds['decision'] * 1e3:.2f} ms")


class Stopwatch:
    """Seconds spent in what is timed, and steps, both after ``warm_up`` episodes."""

    def __init__(self, warm_up: int) -> None:
        self.warm_up = warm_up
        self.spent: dict[str, float] = {}
        self.episodes = self.steps = 0
        self.began = 0.0
        self.late_compilations = 0

    @property
    def running(self) -> bool:
        """Whether the warm-up is over."""
        return self.episodes >= self.warm_up

    def on_event(self, event: Any) -> None:
        """Of the run."""
        from silri.core.events import EpisodeFinished, StepTaken

        if isinstance(event, EpisodeFinished):
            self.episodes += 1
            if self.episodes == self.warm_up:
                self.began = time.perf_counter()
        self.steps += isinstance(event, StepTaken) and self.running

    def on_duration(self, name: str, _: float, **__: Any) -> None:
        """Of JAX's monitoring."""
        compiled = name == "/jax/core/compile/backend_compile_duration"
        self.late_compilations += compiled and self.running

    def timed(
        self, name: str, function: Callable, wait: Callable = lambda result: None
    ) -> Callable:
        """``function``, whose time counts; ``wait`` is called with its result."""

        def call(*arguments: Any, **keywords: Any) -> Any:
            begin = time.perf_counter()
            result = function(*arguments, **keywords)
            wait(result)
            if self.running:
                seconds = time.perf_counter() - begin
                self.spent[name] = self.spent.get(name, 0.0) + seconds
            return result

        return call


def everything_else(steps: int, warm_up: int) -> None:
    """Run a short training and split its wall time; count compilations after warm-up."""
    from unittest import mock

    import jax

    from silri.agents.silri import SiLRIAgent
    from silri.configs.run import EvaluationConfig, RunConfig
    from silri.data.mixer import Mixer
    from silri.runtime import session
    from silri.runtime.keeping.folder import RunFolder
    from silri.runtime.local import LocalRun
    from silri.runtime.starting.opening import open_env_and_operator

    watch = Stopwatch(warm_up)
    jax.monitoring.register_event_duration_secs_listener(watch.on_duration)
    config = RunConfig.from_preset(steps=steps, evaluation=EvaluationConfig(every=0))
    env, operator = open_env_and_operator(config)
    # Waited for where it is dispatched: nothing overlaps, so that each part has its own time.
    learn = watch.timed("learner", session.learn, jax.block_until_ready)
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(env, "step", watch.timed("env", env.step)),
        mock.patch.object(Mixer, "sample", watch.timed("sample", Mixer.sample)),
        mock.patch.object(SiLRIAgent, "act", watch.timed("act", SiLRIAgent.act)),
        mock.patch.object(session, "learn", learn),
    ):
        LocalRun(
            config,
            RunFolder.create(Path(folder) / "run", config),
            env,
            operator,
            evaluate=lambda agent, spec, drive: None,
            summarise=lambda config, state: {},
            subscribers=[watch],
        ).run()
        ended = time.perf_counter()
    if not watch.steps:
        raise SystemExit(f"{steps} steps are no more than {warm_up} episodes: give more --steps")
    total, spent = ended - watch.began, watch.spent
    learner_s = spent["learner"] - spent["sample"]
    other = total - learner_s - spent["env"] - spent["act"]
    step = total / watch.steps
    print(f"\na training step, nothing overlapped, over {watch.steps} steps: {step * 1e3:.2f} ms")
    for name, value in (
        ("learner iteration", learner_s),
        ("environment", spent["env"]),
        ("policy", spent["act"]),
        ("everything else (operator, arbiter, folding, replay, logging, store)", other),
    ):
        print(f"  {value / total:6.1%}  {value / watch.steps * 1e3:6.3f} ms  {name}")
    print(f"compilations after episode {warm_up}: {watch.late_compilations}")


def _iteration(name: str, preset: str, stage: str = "online") -> Callable[[], None]:
    """One learner iteration of a preset, compiled and waited for."""
    import jax

    from silri.agents.registry import load_agent
    from silri.core.transition import fake_batch

    entry, spec = load_agent(name), _spec()
    config = entry.preset(preset).config
    batch = fake_batch(spec, (config.utd, config.batch_size), columns=config.columns)
    holder = [entry.agent.create(config, spec, 0)]

    def iterate() -> None:
        holder[0], _ = holder[0].update(batch, stage)
        jax.block_until_ready(holder[0])

    iterate()
    return iterate


def _spec() -> Any:
    from silri.core.specs import ActionSpec, ArraySpec, EnvSpec

    observation = {"state": ArraySpec((8,)), "environment_state": ArraySpec((31,))}
    return EnvSpec("benchmark", observation, ActionSpec(4, (3,)), 100)


def _iteration_flops(agent: str, rows: int) -> float:
    """Products of one iteration by hand: 2 m n k each; what is computed twice counts once."""
    f, d, h = 39, 3, 256

    def forward(size: int, out: int, n: int = rows) -> float:
        return 2.0 * n * (size * h + h * h + h * out)

    def backward(size: int, out: int, n: int = rows) -> float:
        return forward(size, out, n) + 2.0 * n * (h * h + h * out)  # weights, then hidden inputs

    def to_action(n: int = rows) -> float:  # gradient of a critic with respect to its action
        return 2.0 * n * (d * h + h * h + h)

    critic = 2 * (forward(f + d, 1) + backward(f + d, 1))  # two members
    target_critic = 2 * forward(f + d, 1)
    through_critic = 2 * (forward(f + d, 1) + to_action())
    if agent == "hil_serl":
        target = forward(f, 2 * d) + target_critic
        grasp = 3 * forward(f, 2) + backward(f, 2)
        actor = forward(f, 2 * d) + backward(f, 2 * d) + through_critic
        return 2 * (critic + target + grasp) + actor
    target = forward(f, d) + target_critic
    expert = forward(f, 2 * d, rows // 2) + backward(f, 2 * d, rows // 2)
    actor = forward(f, d) + backward(f, d) + through_critic + forward(f, 2 * d) + forward(f, 1)
    gripper = forward(f, 2) + backward(f, 2)
    multiplier = forward(f, d) + backward(f, 1)
    return 2 * (critic + target) + expert + actor + gripper + multiplier


def _torch_update(batch: Any, threads: int) -> Callable[[], None] | None:
    try:
        import torch
    except ModuleNotFoundError:
        return None
    from torch_silri import TorchSiLRI

    if threads:
        torch.set_num_threads(threads)
    tensors = {name: torch.from_numpy(column) for name, column in torch_columns(batch).items()}
    learner = TorchSiLRI(39, 3)
    return lambda: learner.update(tensors)


def torch_columns(batch: Any) -> dict[str, Any]:
    """A batch (U, B) as ``torch_silri`` takes it: motions, the gripper's class, one vector."""
    import numpy as np

    def vector(observation: dict) -> np.ndarray:
        return np.concatenate([observation[key] for key in sorted(observation)], axis=-1)

    arrays = {
        "s": vector(batch.observation),
        "s2": vector(batch.next_observation),
        "a": batch.action[..., :3],
        "h": batch.human_action[..., :3],
        "r": batch.reward,
        "mask": batch.mask,
        "human": batch.is_intervention,
        "success": batch.columns["success"],
        "g": (batch.human_action[..., 3] > 0).astype(np.int64),
    }
    return {name: np.ascontiguousarray(column) for name, column in arrays.items()}


if __name__ == "__main__":
    main()
