"""The learner's machine's end of the wire: keeps Ray's head and the hub alive.

Runs as a process of its own. When anything of Ray's is dead or does not answer, it exits, and the
supervisor starts it again: the hub then opens the store anew, and the uplinks come back.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from silri.core.clock import Clock, MonotonicClock
from silri.core.errors import RunFolderError, SilriError
from silri.runtime.cluster.hub import Hub
from silri.runtime.cluster.lifeline import is_held
from silri.runtime.cluster.paths import LivePaths, read_record, write_record
from silri.runtime.cluster.transport import Head, RayLine, call, end_session, hub_of, import_ray
from silri.runtime.cluster.uplink import CALL_S, Disconnected

_LOG = logging.getLogger(__name__)

TICK_S = 1.0
HUB_START_S = 60.0
OWNERLESS_S = 10.0  # a hub whose supervisor is dead for so long ends itself and Ray with it


class HubProcess(Hub):
    """The hub in Ray's worker; it does not outlive the run's supervisor for long."""

    def __init__(self, run: Path) -> None:
        super().__init__(run, MonotonicClock())
        threading.Thread(target=self._watch, args=(run,), name="owner", daemon=True).start()

    def _watch(self, run: Path) -> None:
        live, pause, ownerless = LivePaths(run), threading.Event(), 0.0
        while ownerless < OWNERLESS_S:
            pause.wait(TICK_S)
            owner = read_record(live.owner).get("lifeline")
            ownerless = 0.0 if owner and is_held(Path(owner)) else ownerless + TICK_S
        self.close()
        head = read_record(live.ray).get("pid")
        end_session(head if isinstance(head, int) else os.getsid(0))  # this process is part of it


def run_link(
    run: Path, head: Head, environment: dict[str, str], stop: Callable[[], bool], clock: Clock
) -> None:
    """Start what is missing, then watch it until asked to stop.

    Raises:
        SilriError: something does not answer any more; the caller exits and is started again.
    """
    live = LivePaths(run)
    head.start(live.logs / "ray.log", environment)
    try:
        ray = import_ray()
        line = RayLine(head.address, hub=False)
        hub = hub_of(ray, HubProcess, run)
        call(ray, hub, "tick", timeout_s=HUB_START_S)
        _LOG.warning("robots can connect: silri actor --address %s", head.address)
        failures = 0
        while not stop():
            try:
                for message in call(ray, hub, "tick", timeout_s=CALL_S):
                    _LOG.warning("%s", message)
                failures = 0
            except Disconnected:
                failures += 1
                if failures == 3 or not head.alive():
                    raise
            write_record(live.link, {"pid": os.getpid(), "beat": clock.now()})
            clock.sleep(TICK_S)
        line.close()
    except (SilriError, Disconnected) as error:
        head.stop()
        raise RunFolderError(f"the hub is gone: {error}") from error
    head.stop()
