"""What ``silri train --runtime cluster``, ``silri learner`` and ``silri actor`` have in common."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from silri.cli.main import DONE, INTERRUPTED
from silri.cli.pages import Door, LatePages, PageFlags, Pages
from silri.cli.terminal.signals import stop_on_signal
from silri.configs.run import RunConfig
from silri.core.clock import MonotonicClock
from silri.core.errors import ConfigError
from silri.runtime.cluster.lifeline import Lifeline
from silri.runtime.cluster.paths import LivePaths, SpoolPaths, read_record, write_record
from silri.runtime.cluster.setup import check_learns, prepare_run
from silri.runtime.cluster.supervisor import Child, Supervisor
from silri.runtime.cluster.wire.security import authenticated, check_token, ensure_token
from silri.runtime.cluster.wire.transport import import_ray, stop_head
from silri.runtime.keeping.folder import RunFolder
from silri.runtime.pace.priority import control_core
from silri.store.safety import files

POLL_S = 0.2
LAST_WORDS_S = 3.0  # the hub stays for so long, so that robots elsewhere hear that all is done
LINK_PATIENCE_S = 150.0  # Ray and the hub may take two times a minute to start
COMPILING_S = 300.0  # a control loop may be silent for so long: JAX compiles, a device calibrates
MODULE = (sys.executable, "-m", "silri.cli.process")


@dataclass(frozen=True)
class Ports:
    """Where the head listens.

    Attributes:
        host: an address of this machine.
        client: what uplinks connect to.
        internal: Ray's own.
    """

    host: str
    client: int
    internal: int

    @property
    def address(self) -> str:
        """For ``silri actor --address``."""
        return f"{self.host}:{self.client}"


def check_run(config: RunConfig, token: Path) -> None:
    """What can be known to be wrong before there is a run folder.

    Raises:
        ConfigError: the agent does not learn online, evaluations are to be filmed, or the token is
            not safe.
        UsageError: authentication is turned off.
        MissingExtraError: Ray is not installed.
    """
    check_learns(config)
    if config.evaluation.videos:
        raise ConfigError(
            "evaluation.videos films runs in one process so far: leave it out here, and film the "
            "policy afterwards with 'silri eval RUN --video'"
        )
    authenticated(os.environ, ensure_token(token))
    import_ray()


def run_learner(
    folder: RunFolder,
    config: RunConfig,
    ports: Ports,
    token: Path,
    robots: Sequence[str],
    door: Door | None = None,
) -> int:
    """Supervise a learner, its link, and robots on this machine; returns the exit code.

    ``door`` is where the robots' page comes in, if they have one.
    """
    live = LivePaths(folder.path)
    files.make_dir(live.logs)
    with stop_on_signal() as stop, contextlib.ExitStack() as stack:
        lifeline = Lifeline(live.folder)
        stack.callback(lifeline.release)
        prepare_run(folder, config)
        # Robots that keep a rate share this machine: one core is theirs.
        core = control_core() if robots and config.runtime.rate_hz else None
        common = ("--lifeline", str(lifeline.path))
        learner = (*MODULE, "learn", "--run", str(folder.path), *common, *_core(core))
        link = (
            *(*MODULE, "link", "--run", str(folder.path), *common, "--token", str(token)),
            *("--address", ports.address, "--port", str(ports.internal), *_core(core)),
        )
        children = [
            Child("link", link, None, heartbeat=live.link, patience_s=LINK_PATIENCE_S),
            Child("learner", learner, None, leads=True, grace_s=60.0),
        ]
        spools = {name: live.folder / "robots" / name for name in robots}
        for name, spool in spools.items():
            files.make_dir(spool)
            # So that it compiles while Ray starts, and knows whose robot it is.
            write_record(SpoolPaths(spool).setup, read_record(live.setup), durable=True)
            children += robot_children(
                spool, name, ports.address, token, lifeline, core, leads=False
            )
        stack.callback(stop_head, live.ray)  # if the link could not do it
        if door is not None:
            log = folder.path / "console.log"
            stack.callback(Pages(door, spools, log, core, heard=live.robots).close)
        return _supervise(Supervisor(children, MonotonicClock()), stop)


def run_robot(spool: Path, name: str, address: str, token: Path, page: PageFlags) -> int:
    """Supervise the control loop and the uplink of one robot; returns the exit code.

    ``page`` is what it serves its page with, if the learner wants one.
    """
    check_token(token)
    import_ray()
    files.make_dir(spool)
    lifeline = Lifeline(spool)
    core = control_core()
    children = robot_children(spool, name, address, token, lifeline, core, leads=True)
    pages = LatePages(page, spool, name, core)
    with stop_on_signal() as stop:
        try:
            return _supervise(Supervisor(children, MonotonicClock()), stop, pages.look)
        finally:
            pages.close()
            lifeline.release()


def robot_children(
    spool: Path,
    name: str,
    address: str,
    token: Path,
    lifeline: Lifeline,
    core: int | None,
    *,
    leads: bool,
) -> list[Child]:
    """The two processes of a robot; ``leads``: when its loop is done, so is the supervisor."""
    paths = SpoolPaths(spool)
    files.make_dir(spool)
    files.remove(paths.page)  # of a loop that is gone
    common = (
        *("--spool", str(spool), "--robot", name, "--lifeline", str(lifeline.path)),
        *("--token", str(token), "--address", address),
    )
    control = (*MODULE, "control", *common, *_core(core))
    return [
        Child(
            f"{name}: control loop",
            control,
            None,
            heartbeat=paths.control,
            patience_s=COMPILING_S,
            leads=leads,
        ),
        Child(
            f"{name}: uplink",
            (*MODULE, "uplink", *common, *_core(core)),
            None,
            heartbeat=paths.uplink,
            patience_s=90.0,
            grace_s=15.0,
        ),
    ]


def free_port() -> int:
    """A port of the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def check_name(name: str) -> str:
    """A robot's name, fit for a path and a message.

    Raises:
        ConfigError: if not.
    """
    if not name or not all(letter.isalnum() or letter in "-_" for letter in name):
        raise ConfigError(f"--name takes letters, digits, - and _, got {name!r}")
    return name


def _core(core: int | None) -> tuple[str, ...]:
    return () if core is None else ("--core", str(core))


def _supervise(
    supervisor: Supervisor, stop: Callable[[], bool], look: Callable[[], None] = lambda: None
) -> int:
    clock = MonotonicClock()
    try:
        while not (stop() or supervisor.over):
            look()
            for message in supervisor.poll():
                print(message, file=sys.stderr, flush=True)
            clock.sleep(POLL_S)
    finally:
        # Robots first: the uplinks then send what they have to a hub that is still there.
        supervisor.stop(lambda name: name.endswith("control loop"))
        supervisor.stop(lambda name: name.endswith("uplink"))
        supervisor.stop(lambda name: name == "learner")
        if supervisor.finished:
            clock.sleep(LAST_WORDS_S)
        supervisor.stop()
    if supervisor.failed:
        code, text = supervisor.failed
        print(text, file=sys.stderr)
        return code
    return DONE if supervisor.finished else INTERRUPTED
