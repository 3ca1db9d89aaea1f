"""What running robots costs: the table of docs/explanation/scaling.md, one row per claim.

    python benchmarks/runtime.py               all of it, a minute each (about 10 minutes)
    python benchmarks/runtime.py local         the store's share of a local run
    python benchmarks/runtime.py cluster       4 robots together against one alone
    python benchmarks/runtime.py hub           what one hub and one learner can take
    python benchmarks/runtime.py upload        an episode's way, without the wire
    python benchmarks/runtime.py cluster --seconds 2 --robots 1 --out a.json      a glance

Results go to --out as JSON as they come; --seconds is the length of each measurement. Commits are
measured by store.py, the control loop by control_loop.py.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil

ENV = "metaworld/drawer-open-v3"
RATE_HZ = 20.0
SILRI = (sys.executable, "-m", "silri.cli.main")


# -- the store's share of a local run ------------------------------------------------------------


def local(folder: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Seconds spent in the store, of the seconds spent training; one run, so no noise between."""
    from silri.configs.run import EvaluationConfig, RunConfig
    from silri.runtime.keeping.folder import RunFolder
    from silri.runtime.local import LocalRun
    from silri.runtime.session import Interrupted
    from silri.runtime.starting.backend import prepare_jax
    from silri.runtime.starting.opening import open_env_and_operator
    from silri.store.store import EpisodeStore

    prepare_jax()
    spent: list[float] = []
    commit = EpisodeStore.commit

    def timed(self: EpisodeStore, episode: Any) -> Any:
        started = time.perf_counter()
        try:
            return commit(self, episode)
        finally:
            spent.append(time.perf_counter() - started)

    config = RunConfig.from_preset(steps=10**6, evaluation=EvaluationConfig(every=0))
    deadline: list[float] = []

    def stop() -> bool:
        # The clock starts with the first training episode; compiling is not what is measured.
        if run.state.episodes >= 2 and not deadline:
            spent.clear()
            deadline.append(time.perf_counter() + chosen.seconds)
        return bool(deadline and spent) and time.perf_counter() > deadline[0]

    run = LocalRun(
        config,
        RunFolder.create(folder / "local", config),
        *open_env_and_operator(config),
        evaluate=lambda agent, spec, drive: None,
        summarise=lambda config, state: {},
        stop=stop,
    )
    EpisodeStore.commit = timed  # type: ignore[method-assign]
    try:
        run.run()
    except Interrupted:
        pass
    finally:
        EpisodeStore.commit = commit  # type: ignore[method-assign]
    return {
        "episodes": len(spent),
        "commit_ms": round(1e3 * statistics.median(spent), 2),
        "store_share": round(sum(spent) / chosen.seconds, 4),
        "env_steps": run.state.env_steps,
    }


# -- robots together -------------------------------------------------------------------------------


def cluster(folder: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Steps per second of one robot alone and of several together, at 20 Hz and free."""
    results: dict[str, Any] = {}
    for name, hz in (("paced", RATE_HZ), ("free", 0.0)):
        alone = robots(folder / f"{name}-1", 1, hz, chosen.seconds)
        results[name] = {"one_alone": alone}
        if chosen.robots > 1:
            together = robots(folder / f"{name}-many", chosen.robots, hz, chosen.seconds)
            ratio = together["steps_per_s"] / (chosen.robots * alone["steps_per_s"])
            results[name] |= {f"{chosen.robots}_together": together, "ratio": round(ratio, 3)}
    return results


def robots(folder: Path, count: int, hz: float, seconds: float) -> dict[str, Any]:
    """A cluster run of ``count`` robots, observed for ``seconds`` once all of them move."""
    command = [
        *SILRI, "train", "--runtime", "cluster", "--robots", str(count), "--env", ENV,
        "--steps", "1000000", "--runtime.rate-hz", str(hz), "--runtime.max-lag", "0",
        "--evaluation.every", "0", "--runtime.tensorboard", "False", "--out", str(folder),
    ]  # fmt: skip
    log = folder.with_suffix(".log").open("ab")
    process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for(lambda: min(steps(folder, count)) > 20, 240, f"{count} robots to move: {log.name}")
        before, started = steps(folder, count), time.monotonic()
        psutil.cpu_percent()
        cpu = {kind: seconds for kind, (seconds, _) in processes().items()}
        updates = progress(folder).get("learnt_steps", 0.0)
        time.sleep(seconds)
        passed = time.monotonic() - started
        done = [b - a for a, b in zip(before, steps(folder, count), strict=True)]
        learnt = progress(folder).get("learnt_steps", 0.0) - updates
        return {
            "steps_per_s": round(sum(done) / passed, 2),
            "per_robot": [round(n / passed, 2) for n in done],
            "cpu_percent_of_all_cores": psutil.cpu_percent(),
            "learner_updates_per_s": round(learnt / passed, 1),
            "cores_and_mb": {
                kind: [round((seconds - cpu.get(kind, 0.0)) / passed, 3), megabytes]
                for kind, (seconds, megabytes) in processes().items()
            },
        }
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
        log.close()


KINDS = {  # what is in a command line -> what it is
    "cli.process control": "control loops",
    "cli.process uplink": "uplinks",
    "cli.process learn": "learner",
    "cli.process link": "link",
    "mode=specific-server": "Ray: a server per client",
    "ray::": "hub and Ray's workers",
    "ray": "Ray's head",
}


def processes() -> dict[str, tuple[float, int]]:
    """CPU seconds and resident megabytes of all processes of a kind, sums."""
    found: dict[str, tuple[float, int]] = {}
    for process in psutil.process_iter():
        try:
            command = " ".join(process.cmdline())
            kind = next((kind for mark, kind in KINDS.items() if mark in command), None)
            if kind is None or "benchmarks" in command:
                continue
            times, memory = process.cpu_times(), process.memory_info().rss
        except psutil.Error:
            continue
        seconds, megabytes = found.get(kind, (0.0, 0))
        found[kind] = (seconds + times.user + times.system, megabytes + memory // 10**6)
    return found


def steps(folder: Path, count: int) -> list[int]:
    """Steps of each robot, from its heartbeat (once a second)."""
    paths = [
        folder / "live" / "robots" / f"robot-{n}" / "control.json" for n in range(1, count + 1)
    ]
    return [record(path).get("steps", 0) for path in paths]


def progress(folder: Path) -> dict[str, Any]:
    """Of the learner."""
    return record(folder / "live" / "progress.json")


def record(path: Path) -> dict[str, Any]:
    """A small JSON file, empty while it is not there."""
    return json.loads(path.read_text()) if path.exists() else {}


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll until ``condition``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.2)


# -- what one hub can take -------------------------------------------------------------------------


def hub(folder: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Episodes per second, bytes per step, parameters: measured through the real Ray, loopback."""
    results: dict[str, Any] = {}
    for name, cameras in (("vector", False), ("two_cameras", True)):
        results[name] = saturate(folder / name, cameras=cameras, seconds=chosen.seconds)
    return results


def saturate(run: Path, *, cameras: bool, seconds: float) -> dict[str, Any]:
    """Upload prepared episodes as fast as the hub takes them, and fetch parameters."""
    import store as made

    from silri.cli.cluster import free_port
    from silri.runtime.cluster.hub import Hub
    from silri.runtime.cluster.lifeline import Lifeline
    from silri.runtime.cluster.parameters import Parameters, pack, write_parameters
    from silri.runtime.cluster.paths import PROTOCOL, LivePaths, write_record
    from silri.runtime.cluster.spool import Upload, encode_upload
    from silri.runtime.cluster.wire.security import authenticated, ensure_token
    from silri.runtime.cluster.wire.transport import (
        LOOPBACK_ONLY,
        QUIET,
        Head,
        RayLine,
        hub_of,
        import_ray,
    )
    from silri.store.format.encoded import encode

    live = LivePaths(run)
    live.logs.mkdir(parents=True)
    spec = made.IMAGE_SPEC if cameras else made.SPEC
    write_record(
        live.setup,
        {"spec": spec.to_json(), "diagnostics": [], "max_lag": 0, "demos": 0, "run_id": "b"},
    )
    lifeline = Lifeline(live.folder)
    environment = authenticated(
        {**os.environ, **QUIET, **LOOPBACK_ONLY}, ensure_token(run.parent / "token")
    )
    os.environ.update(environment)
    head = Head(live.ray, host="127.0.0.1", port=free_port(), client_port=free_port())
    head.start(live.logs / "ray.log", environment, lifeline.path)
    line = RayLine(head.address, hub=False)
    try:
        actor = hub_of(import_ray(), Hub, run)
        line._hub = actor
        count = 10 if cameras else 200
        build = made.make_image_episode if cameras else lambda n: made.make_episode(n, demo=False)
        uploads = [
            encode_upload(Upload(encode(_named(build(n % 10), n), spec.control_hz), ""))
            for n in range(count)
        ]
        line.call("tick", timeout_s=60)
        times = []
        started = time.monotonic()
        for data in uploads:
            begun = time.monotonic()
            line.call("upload", data, timeout_s=60)
            times.append(time.monotonic() - begun)
            if time.monotonic() - started > seconds:
                break
        arrays = np.random.default_rng(0).bytes(parameter_bytes())
        write_parameters(live.policy, pack(Parameters(1, arrays)))
        write_record(live.progress, {"version": 1})
        fetches = []
        for _ in range(20):
            begun = time.monotonic()
            line.call("parameters", 0, timeout_s=60)
            fetches.append(time.monotonic() - begun)
        beats = []
        line.call("register", "r", "s", "h", PROTOCOL, timeout_s=60)
        for _ in range(100):
            begun = time.monotonic()
            line.call("beat", "r", "s", {}, timeout_s=60)
            beats.append(time.monotonic() - begun)
    finally:
        line.close()
        head.stop()
        lifeline.release()
    mean_bytes = sum(map(len, uploads)) / len(uploads)
    return {
        "upload_ms": round(1e3 * statistics.median(times), 1),
        "episodes_per_s": round(len(times) / sum(times), 1),
        "bytes_per_step": round(mean_bytes / made.STEPS),
        "parameter_bytes": len(arrays),
        "fetch_ms": round(1e3 * statistics.median(fetches), 1),
        "beat_ms": round(1e3 * statistics.median(beats), 2),
    }


def upload(folder: Path, _: argparse.Namespace) -> dict[str, Any]:
    """CPU milliseconds of one episode's way: the robot encodes, the uplink checks, the hub stores.

    In this process, without the wire: hardly touched by what else the machine does.
    """
    import store as made

    from silri.runtime.cluster.hub import Hub
    from silri.runtime.cluster.paths import LivePaths, write_record
    from silri.runtime.cluster.spool import Upload, decode_upload, encode_upload
    from silri.store.format.encoded import encode

    results: dict[str, Any] = {}
    for name, spec, build in (
        ("vectors", made.SPEC, lambda n: made.make_episode(n, demo=False)),
        ("two_cameras", made.IMAGE_SPEC, made.make_image_episode),
    ):
        live = LivePaths(folder / f"upload-{name}")
        live.folder.mkdir(parents=True)
        setup = {"spec": spec.to_json(), "diagnostics": [], "max_lag": 0, "demo_steps": 0}
        write_record(live.setup, setup | {"run_id": "b"})
        receiver = Hub(folder / f"upload-{name}")
        times: list[list[float]] = []
        for number in range(6):
            episode, marks = _named(build(number), number), [time.process_time()]
            data = encode_upload(Upload(encode(episode, spec.control_hz), ""))
            marks.append(time.process_time())
            decode_upload(data, "an upload")
            marks.append(time.process_time())
            receiver.upload(data)
            marks.append(time.process_time())
            times.append([1e3 * (end - begin) for begin, end in pairwise(marks)])
        receiver.close()
        medians = [round(statistics.median(column), 1) for column in zip(*times, strict=True)]
        results[name] = dict(zip(("robot_ms", "uplink_ms", "hub_ms"), medians, strict=True))
    return results


def _named(episode: Any, number: int) -> Any:
    import dataclasses

    return dataclasses.replace(
        episode, is_demo=False, origin=f"robot/bench:{number}", diagnostics={}
    )


def parameter_bytes() -> int:
    """What a SiLRI agent of the default size sends to its robots."""
    from silri.agents.registry import load_agent
    from silri.configs.run import RunConfig
    from silri.runtime.keeping.export import encode_parameters
    from silri.vision.sight import Sight
    from silri.vision.sighted import Sighted

    config = RunConfig.from_preset(env_name=ENV)
    spec = config.create_env().env_spec
    agent = load_agent(config.agent_name).agent.create(config.agent, spec, 0, config.augment)
    return len(encode_parameters(Sighted(agent, Sight(config.vision, spec))))


MEASUREMENTS: dict[str, Callable[[Path, argparse.Namespace], dict[str, Any]]] = {
    "local": local,
    "cluster": cluster,
    "hub": hub,
    "upload": upload,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", default=list(MEASUREMENTS))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--robots", type=int, default=4, help="cluster: together")
    parser.add_argument("--out", type=Path, default=Path("runs/runtime.json"))
    chosen = parser.parse_args()
    results = record(chosen.out)
    folder = Path(tempfile.mkdtemp(prefix="silri-runtime-"))
    try:
        for name in chosen.what:
            print(f"{name} ...", flush=True)
            results[name] = MEASUREMENTS[name](folder, chosen)
            print(json.dumps(results[name], indent=1), flush=True)
            chosen.out.parent.mkdir(exist_ok=True)
            chosen.out.write_text(json.dumps(results, indent=1) + "\n")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
