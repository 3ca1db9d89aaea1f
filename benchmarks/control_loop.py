"""Does the control loop keep 20 Hz while a learner saturates the other core?

    python benchmarks/control_loop.py                      10 minutes of each loop
    python benchmarks/control_loop.py --minutes 0.5 --out a.json --figure a.png     a glance
    python benchmarks/control_loop.py --unprotected        without priorities: what they are for
    python benchmarks/control_loop.py --plot FILE.json     draw a finished measurement again

One process, on the core that is kept for control, alternates between a bare loop (``time.sleep``
to the next deadline, nothing else) and ours (``rollout`` with a SiLRI policy, a simulated person
and Meta-World's drawer), ``--window`` seconds each; a second process runs SiLRI's learner without
a break. Alternating is what makes the two comparable: side by side on one core each would delay
the other, and one after the other a disturbance of some minutes would hit one of them only. Both
have the same core, scheduler, process and learner beside them. The first period after a reset
counts like any other; the reset itself belongs to no period.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from silri.runtime.pace.histogram import BUCKETS, Histogram
from silri.runtime.pace.priority import (
    control_core,
    favour_control,
    limit_threads,
    yield_to_control,
)

ENV = "metaworld/drawer-open-v3"
QUANTILES = (50, 90, 99, 99.9, 100)
LATENCIES = {  # title, colour, line
    "inference": ("inference", "#0072B2", "-"),
    "command_latency": ("command latency", "#009E73", "--"),
    "observation_age": ("observation age", "#CC79A7", ":"),
}


# -- the learner ---------------------------------------------------------------------------------


def learner(core: int | None, protected: bool, path: Path) -> None:
    """Update without a break until the parent has gone; ``path`` says how far it came."""
    report = str(yield_to_control(core)) if protected else "no change"
    import jax

    from silri.agents.registry import load_agent
    from silri.configs.run import RunConfig
    from silri.core.transition import fake_batch

    run = RunConfig.from_preset(env_name=ENV)
    config, spec = run.agent, run.create_env().env_spec
    agent = load_agent(run.agent_name).agent.create(config, spec, 0, run.augment)
    batch = fake_batch(spec, (config.utd, config.batch_size), columns=config.columns)
    agent, _ = agent.update(batch)
    jax.block_until_ready(agent)
    updates, started, computed, parent = 0, time.monotonic(), time.process_time(), os.getppid()
    while os.getppid() == parent:
        for _ in range(20):
            agent, _ = agent.update(batch)
        jax.block_until_ready(agent)
        updates += 20
        seconds = time.monotonic() - started
        record = {"priority": report, "updates": updates, "updates_per_s": updates / seconds}
        record["cpu_share"] = (time.process_time() - computed) / seconds
        path.with_suffix(".tmp").write_text(json.dumps(record))
        path.with_suffix(".tmp").replace(path)


@contextlib.contextmanager
def learner_beside(core: int | None, protected: bool, path: Path) -> Iterator[None]:
    """A learner process that is updating when the block begins."""
    path.unlink(missing_ok=True)
    line = [sys.executable, __file__, "--learner", str(path)]
    line += [] if core is None else ["--core", str(core)]
    line += [] if protected else ["--unprotected"]
    limits = limit_threads(max((os.cpu_count() or 1) - 1, 1)) if protected else {}
    process = subprocess.Popen(line, env=os.environ | limits)
    try:
        while not path.exists():
            if process.poll() is not None:
                raise SystemExit("the learner did not start")
            time.sleep(0.1)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


# -- the two loops -------------------------------------------------------------------------------


def bare(hz: float, steps: int, periods: list[float]) -> None:
    """The least that a loop can do."""
    period = 1 / hz
    deadline = woke = time.monotonic()
    for _ in range(steps):
        deadline += period
        time.sleep(max(0.0, deadline - time.monotonic()))
        now = time.monotonic()
        periods.append(now - woke)
        woke = now


class Ours:
    """What a robot's control process runs, episode after episode."""

    def __init__(self, hz: float) -> None:
        from silri.configs.run import RunConfig
        from silri.core.clock import MonotonicClock
        from silri.intervention.arbiter import Arbiter
        from silri.runtime.pace.realtime import PacedEnv, Pacer, TimedPolicy
        from silri.runtime.pace.timing import LoopTiming
        from silri.runtime.starting.prepare import make_operator

        periods = self.periods = []

        class RecordingPacer(Pacer):
            def wait(self) -> Any:
                wake = super().wait()
                periods.append(wake.period)
                return wake

        config = RunConfig.from_preset(env_name=ENV)
        env = config.create_env()
        self.spec = env.env_spec
        self.pacer = RecordingPacer(MonotonicClock(), hz)
        self.notices: list[str] = []
        self.timing = LoopTiming(hz, lambda text, details: self.notices.append(text))
        self.env = PacedEnv(env, self.pacer, self.timing)
        self.policy = TimedPolicy(_policy(config, self.spec), self.pacer, self.timing)
        self.operator = make_operator(config, env)
        self.arbiter = Arbiter(self.spec.action, config.runtime.blend_steps)
        self.episodes = 0

    def episode(self) -> int:
        """Drive one; returns its steps."""
        from silri.data.episode import EpisodeBuilder
        from silri.runtime.acting.rollout import rollout
        from silri.runtime.pace.realtime import no_garbage_collection

        index, self.episodes = self.episodes, self.episodes + 1
        builder = EpisodeBuilder(self.spec, index, False, index, self.spec.name, "simulated")
        with no_garbage_collection():
            outcome = rollout(
                self.env,
                self.policy,
                self.operator,
                self.arbiter,
                builder,
                rng=np.random.default_rng(index),
                on_step=lambda transition, diagnostics: None,
                stop=lambda: False,
                clock=self.pacer,
            )
        if outcome.end != "finished":
            raise SystemExit(f"episode {index}: {outcome}")
        self.operator.end_episode(builder.build(success=outcome.success).stats())
        return len(builder)


def _policy(config: Any, spec: Any) -> Any:
    from silri.agents.registry import load_agent

    agent = load_agent(config.agent_name).agent.create(config.agent, spec, 0, config.augment)

    class Policy:
        version = 0

        def propose(self, observation: Any, episode: int, step: int) -> Any:
            return agent.act(observation, episode=episode, step=step, explore=True)

    return Policy()


# -- the measurement -----------------------------------------------------------------------------


def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    """Alternate until both loops have run for long enough; what there is, is on disk."""
    protected = not chosen.unprotected
    core = control_core()
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    learner_path = chosen.out.with_suffix(".learner.json")
    with learner_beside(core, protected, learner_path):
        priority = favour_control(core) if protected else "no change"
        Ours(chosen.hz).episode()  # compiles
        if protected:
            priority = favour_control(core, fifo=True)
        ours, plain = Ours(chosen.hz), []
        bare(chosen.hz, 20, [])
        steps = round(chosen.minutes * 60 * chosen.hz)
        window = round(chosen.window * chosen.hz)
        taken, before, began = 0, _steal(), time.time()
        while taken < steps:
            share = 0
            while share < window and taken + share < steps:
                share += ours.episode()
            ours.timing.end_episode()
            bare(chosen.hz, share, plain)
            taken += share
            result = {
                "env": ENV,
                "hz": chosen.hz,
                "steps": taken,
                "minutes_each": taken / chosen.hz / 60,
                "window_s": chosen.window,
                "protected": protected,
                "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
                "machine": f"{platform.platform()}, {os.cpu_count()} cores",
                "load_average": os.getloadavg(),
                "stolen_s": _steal() - before,  # by the hypervisor, all cores
                "control_priority": str(priority),
                "learner": json.loads(learner_path.read_text()),
                "notices": ours.notices,
                "bare": {"periods_10us": _bins(plain)},
                "ours": {**ours.timing.to_json(), "periods_10us": _bins(ours.periods)},
            }
            chosen.out.write_text(json.dumps(result) + "\n")
            p99 = [_percentile(_periods(result[name]), 99) for name in ("bare", "ours")]
            print(f"{taken} of {steps} steps: p99 {p99[0]:.2f} bare, {p99[1]:.2f} ms", flush=True)
    learner_path.unlink(missing_ok=True)
    return result


def _steal() -> float:
    """Seconds that the hypervisor gave to somebody else; 0 where nobody counts them."""
    path = Path("/proc/stat")
    if not path.exists():
        return 0.0
    return int(path.read_text().split()[8]) / os.sysconf("SC_CLK_TCK")


def _bins(periods: list[float]) -> list[list[int]]:
    """[10 us, how often] pairs: finer than 1 % of a period, and small enough to keep."""
    values, counts = np.unique(np.floor(np.asarray(periods) * 1e5).astype(int), return_counts=True)
    return [[int(value), int(count)] for value, count in zip(values, counts, strict=True)]


def _periods(stored: dict[str, Any]) -> np.ndarray:
    """The inverse of :func:`_bins`, in milliseconds."""
    values, counts = np.transpose(stored["periods_10us"])
    return np.repeat((values + 0.5) / 100, counts)


def _percentile(periods: np.ndarray, q: float) -> float:
    return float(np.percentile(periods, q, method="inverted_cdf"))


def _latencies(result: dict[str, Any]) -> dict[str, Histogram]:
    stored = result["ours"]["histograms"]
    return {name: Histogram.from_json(stored[name]) for name in LATENCIES}


def table(result: dict[str, Any]) -> str:
    """Markdown: what was measured, in milliseconds."""
    names = [f"p{q:g}" if q < 100 else "max" for q in QUANTILES]
    rows = ["| ms | n | " + " | ".join(names) + " |", "| --- " * (len(names) + 2) + "|"]

    def row(name: str, count: int, values: list[float]) -> None:
        rows.append(f"| {name} | {count} | {' | '.join(f'{v:.2f}' for v in values)} |")

    p99 = []
    for loop in ("bare", "ours"):
        periods = _periods(result[loop])
        p99.append(_percentile(periods, 99))
        row(f"{loop}: loop period", len(periods), [_percentile(periods, q) for q in QUANTILES])
    for name, histogram in _latencies(result).items():
        values = [1e3 * histogram.percentile(q) for q in QUANTILES]
        row(f"ours: {LATENCIES[name][0]}", histogram.count, values)
    loop, beside = result["ours"], result["learner"]
    rows += [
        "",
        f"p99 of the period: ours - bare = {p99[1] - p99[0]:+.2f} ms",
        f"late {loop['late']}, overruns {loop['overruns']}, stalls {loop['stalls']}",
        f"control: {result['control_priority']}",
        f"learner: {beside['priority']}; {beside['updates_per_s']:.1f} updates/s",
        f"learner's use of cores: {beside['cpu_share']:.2f}",
        f"stolen by the hypervisor: {result['stolen_s']:.2f} s; {result['machine']}",
    ]
    return "\n".join(rows + result["notices"])


# -- the figure ----------------------------------------------------------------------------------


def draw(result: dict[str, Any], path: Path) -> None:
    """Both periods on one axis; the three latencies of our loop on another."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import NullFormatter

    period = 1e3 / result["hz"]
    style = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
    with plt.rc_context(style | {"axes.grid": True, "grid.color": "#e3e6ea"}):
        figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.8), constrained_layout=True)
        # How far off, on a logarithmic axis: what matters spans 0.05 ms to 100 ms.
        edges = np.geomspace(0.05, 100, 41)
        looks = (("bare", "a bare sleep loop", "#5b6570"), ("ours", "silri's loop", "#D55E00"))
        for name, title, colour in looks:
            periods = _periods(result[name])
            p99, worst = _percentile(periods, 99), periods.max()
            counts, _ = np.histogram(np.clip(np.abs(periods - period), 0.051, 99), edges)
            label = f"{title}: period p99 {p99:.2f}, max {worst:.2f} ms"
            left.stairs(counts, edges, color=colour, lw=1.6, label=label)
        left.axvline(2.0, color="#22272e", lw=0.8, ls=":")
        left.set_xlabel(f"ms between a period and {period:g} ms (dots: 2 ms)")
        left.set_ylabel(f"periods of {result['steps']}")
        for name, (title, colour, line) in LATENCIES.items():
            histogram = _latencies(result)[name]
            label = f"{title}: p99 {1e3 * histogram.percentile(99):.2f} ms"
            look = {"color": colour, "ls": line, "lw": 1.6, "label": label}
            starts = np.arange(0, BUCKETS, 6)  # 6 % wide: narrower ones only show the noise
            edges = 1e3 * Histogram.edges()[[*starts, BUCKETS]]
            right.stairs(np.add.reduceat(histogram.counts(), starts), edges, **look)
        right.set_xlim(0.5, 200)
        right.set_xlabel("silri's loop: ms within a period")
        for axes in (left, right):
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_ylim(0.7, axes.get_ylim()[1] * 6)  # room for the legend
            axes.legend(frameon=False, fontsize=9, loc="upper left")
        minutes = f"{result['minutes_each']:.1f} minutes of each loop at {result['hz']:g} Hz"
        figure.suptitle(f"{minutes}, a learner saturates the other core", fontsize=11)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=130)


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="of each loop")
    parser.add_argument("--hz", type=float, default=20.0)
    parser.add_argument("--window", type=float, default=15.0, help="seconds per turn")
    parser.add_argument("--unprotected", action="store_true", help="leave all priorities alone")
    parser.add_argument("--out", type=Path, default=Path("runs/control_loop.json"))
    parser.add_argument("--figure", type=Path, default=Path("docs/images/control_loop.png"))
    parser.add_argument("--plot", type=Path, help="draw this result and stop")
    parser.add_argument("--learner", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--core", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.learner:
        learner(chosen.core, not chosen.unprotected, chosen.learner)
        return
    result = json.loads(chosen.plot.read_text()) if chosen.plot else measure(chosen)
    print(table(result))
    draw(result, chosen.figure)


if __name__ == "__main__":
    main()
