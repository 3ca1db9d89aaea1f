"""The learner's machine's end of the wire: keeps Ray's head and the hub alive.

Runs as a process of its own. When anything of Ray's is dead or does not answer, it exits, and the
supervisor starts it again: the hub then opens the store anew, and the uplinks come back.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from silri.core.clock import Clock
from silri.core.errors import DataError, SilriError
from silri.runtime.cluster.hub import Hub
from silri.runtime.cluster.paths import LivePaths, read_record, write_record
from silri.runtime.cluster.uplink import CALL_S, Disconnected
from silri.runtime.cluster.wire.transport import Head, RayLine, call, hub_of, import_ray

_LOG = logging.getLogger(__name__)

TICK_S = 1.0
HUB_START_S = 60.0
HUB_AGAIN_S = 20.0  # a hub that does not answer for so long is given up, and Ray with it


def run_link(
    run: Path,
    head: Head,
    environment: dict[str, str],
    lifeline: Path,
    stop: Callable[[], bool],
    clock: Clock,
) -> None:
    """Start what is missing, then watch it until asked to stop.

    Args:
        run: folder of the run.
        head: of Ray.
        environment: of Ray's processes.
        lifeline: of the supervisor, which Ray does not outlive.
        stop: asked every second.
        clock: monotonic.

    Raises:
        SilriError: something does not answer any more; the caller exits and is started again.
    """
    live = LivePaths(run)
    head.start(live.logs / "ray.log", environment, lifeline)
    try:
        ray = import_ray()
        line = RayLine(head.address, hub=False)
        hub = hub_of(ray, Hub, run)
        # Two heads that start on one machine at the same moment may give a port to two servers, so
        # that a line to one of them ends at the other.
        if call(ray, hub, "run_id", timeout_s=HUB_START_S) != read_record(live.setup)["run_id"]:
            raise DataError("this line leads to the hub of another run")
        _LOG.warning("robots can connect: silri actor --address %s", head.address)
        answered = clock.now()
        while not stop():
            try:
                for message in call(ray, hub, "tick", timeout_s=CALL_S):
                    _LOG.warning("%s", message)
                answered = clock.now()
            except Disconnected:  # Ray starts a hub that died again
                if clock.now() - answered > HUB_AGAIN_S or not head.alive():
                    raise
            write_record(live.link, {"pid": os.getpid(), "beat": clock.now()})
            clock.sleep(TICK_S)
        line.close()
    except (SilriError, Disconnected) as error:
        head.stop()
        # No UsageError, which would mean that starting it again is no use.
        raise DataError(f"the hub is gone: {error}") from error
    head.stop()
