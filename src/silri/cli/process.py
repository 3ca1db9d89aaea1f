"""The processes of a cluster run, started by its supervisor: ``python -m silri.cli.process KIND``.

Each stops when it is asked to (SIGTERM) or when the supervisor is dead, and imports only what it
needs: the link and the uplink do without JAX, the learner and the control loop without Ray.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from silri.cli.main import DONE, FAILED, exit_code
from silri.cli.terminal.signals import stop_on_signal
from silri.core.clock import MonotonicClock
from silri.runtime.cluster.lifeline import watch

GRACE_S = 10.0  # for a process without a supervisor to end by itself
DRAIN_S = 10.0  # for an uplink to send what waits

Stop = Callable[[], bool]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one process and return its exit code; 2 says that starting it again is no use."""
    parser = argparse.ArgumentParser(prog="silri.cli.process", description=__doc__)
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("--lifeline", type=Path, required=True)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--spool", type=Path)
    parser.add_argument("--robot")
    parser.add_argument("--address")
    parser.add_argument("--port", type=int)
    parser.add_argument("--token", type=Path)
    parser.add_argument("--core", type=int)
    chosen = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    warnings.filterwarnings("ignore", module="ray")

    def run() -> int:
        with _stopping(chosen.lifeline) as stop:
            return KINDS[chosen.kind](chosen, stop)

    return exit_code(chosen.kind, run)


@contextmanager
def _stopping(lifeline: Path) -> Iterator[Stop]:
    """True once a signal came or the supervisor is dead; then it is a matter of seconds."""
    orphaned = threading.Event()

    def on_death() -> None:
        orphaned.set()
        timer = threading.Timer(GRACE_S, os._exit, (FAILED,))
        timer.daemon = True
        timer.start()

    watch(lifeline, on_death)
    with stop_on_signal() as signalled:
        yield lambda: signalled() or orphaned.is_set()


def _yield(core: int | None) -> None:
    """Leave the core to the control loops of this machine, if they have one."""
    if core is not None:
        from silri.runtime.pace.priority import yield_to_control

        yield_to_control(core)


def _link(chosen: argparse.Namespace, stop: Stop) -> int:
    _yield(chosen.core)
    from silri.runtime.cluster.link import run_link
    from silri.runtime.cluster.paths import LivePaths
    from silri.runtime.cluster.wire.security import authenticated, check_token
    from silri.runtime.cluster.wire.transport import LOOPBACK_ONLY, QUIET, Head

    host, client_port = chosen.address.rsplit(":", 1)
    environment = authenticated({**os.environ, **QUIET}, check_token(chosen.token))
    environment |= LOOPBACK_ONLY if host == "127.0.0.1" else {}
    os.environ.update(environment)
    head = Head(
        LivePaths(chosen.run).ray, host=host, port=chosen.port, client_port=int(client_port)
    )
    run_link(chosen.run, head, environment, chosen.lifeline, stop, MonotonicClock())
    return DONE


def _uplink(chosen: argparse.Namespace, stop: Stop) -> int:
    _yield(chosen.core)
    from silri.runtime.cluster.spool import Spool
    from silri.runtime.cluster.uplink import Uplink, run_uplink
    from silri.runtime.cluster.wire.security import authenticated, check_token
    from silri.runtime.cluster.wire.transport import QUIET, RayLine, import_ray

    os.environ.update(authenticated({**os.environ, **QUIET}, check_token(chosen.token)))
    import_ray()
    clock = MonotonicClock()
    uplink = Uplink(Spool(chosen.spool, chosen.robot), lambda: RayLine(chosen.address), clock)
    run_uplink(uplink, stop, clock, drain_s=DRAIN_S)
    return DONE


def _control(chosen: argparse.Namespace, stop: Stop) -> int:
    from silri.runtime.cluster.paths import SpoolPaths, read_record, write_record
    from silri.runtime.pace.priority import favour_control

    paths, clock = SpoolPaths(chosen.spool), MonotonicClock()
    while not (setup := read_record(paths.setup)):  # the uplink has not reached the learner yet
        if stop():
            return DONE
        write_record(paths.control, {"beat": clock.now(), "note": "waiting for the learner"})
        clock.sleep(0.2)
    keeps_rate = bool(setup["run"]["runtime"]["rate_hz"])
    if keeps_rate:
        report = favour_control(chosen.core)  # before JAX counts the cores
        logging.getLogger(__name__).warning("robot '%s' has %s", chosen.robot, report)

    from silri.configs.serialize import from_versioned
    from silri.evaluation.evaluate import evaluation_of
    from silri.runtime.acting.judging import with_kept_classifier
    from silri.runtime.cluster.control import RobotLoop
    from silri.runtime.cluster.spec import check_same_spec
    from silri.runtime.cluster.spool import Spool
    from silri.runtime.cluster.supervisor import STOPPED
    from silri.runtime.starting.backend import prepare_jax
    from silri.runtime.starting.opening import open_env_and_operator

    prepare_jax(decides=True)
    config = from_versioned(setup["run"], setup.get("format"), str(paths.setup))
    kept = with_kept_classifier(config, chosen.spool)
    env, operator = open_env_and_operator(kept, learns=False, spool=chosen.spool)
    if "spec" in setup:
        check_same_spec(chosen.robot, env.env_spec.to_json(), setup["spec"])

    def precedence() -> None:
        if keeps_rate:  # anew for every episode: who computes for long in one go loses it
            favour_control(chosen.core, fifo=True)

    spool = Spool(chosen.spool, chosen.robot)
    loop = RobotLoop(
        config,
        spool,
        env,
        operator,
        clock,
        stop,
        evaluate=evaluation_of(config.evaluation),
        before_episode=precedence,
    )
    loop.run()
    return STOPPED if loop.commands.stopping else DONE


def _learn(chosen: argparse.Namespace, stop: Stop) -> int:
    _yield(chosen.core)
    from silri.cli.train import learn_from_robots
    from silri.runtime.keeping.folder import RunFolder

    folder, config = RunFolder.open(chosen.run)
    return learn_from_robots(folder, config, stop)


KINDS: dict[str, Callable[[argparse.Namespace, Stop], int]] = {
    "link": _link,
    "uplink": _uplink,
    "control": _control,
    "learn": _learn,
}

if __name__ == "__main__":
    sys.exit(main())
