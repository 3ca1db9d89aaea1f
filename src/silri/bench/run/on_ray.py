"""Cells on a Ray cluster whose machines share a file system; the only part that imports Ray.

Ray only places the processes: one CPU per cell. Everything that matters (the run folder, the log
and its lock) is on the shared file system, as it is without Ray.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from silri.bench.run.pinning import platform, spawn
from silri.bench.run.plan import Job
from silri.bench.run.runner import INTERRUPTED, POLL_S, Handle, open_log
from silri.core.errors import SilriError, UsageError
from silri.runtime.cluster.wire.security import authenticated, default_token_path, ensure_token
from silri.runtime.cluster.wire.transport import LOOPBACK_ONLY, QUIET, import_ray

_LOG = logging.getLogger(__name__)

LOCAL = "local"
LOST = 1  # exit code of a cell whose machine has gone
GRACE_S = 30.0  # for a cancelled cell to save itself
AGAIN_S = 5.0  # a cell that goes on is cancelled again


@dataclass
class RayStarter:
    """Processes on the machines of a Ray cluster.

    Attributes:
        slots: how many at a time.
    """

    slots: int

    @classmethod
    def connect(cls, address: str, slots: int | None) -> RayStarter:
        """Connect to the cluster at ``address``, or start one here for ``local``.

        Ray's token is always on, as for a cluster run: its messages are pickles.

        Args:
            address: of a cluster, or ``local``.
            slots: cells at a time; None for one per CPU of the cluster.

        Raises:
            MissingExtraError: Ray is not installed.
            UsageError: nobody answers at ``address``, or authentication is turned off.
        """
        environment = authenticated({**os.environ, **QUIET}, ensure_token(default_token_path()))
        os.environ.update(environment | (LOOPBACK_ONLY if address == LOCAL else {}))
        ray = import_ray()
        where = {"address": address} | ({"num_cpus": slots} if address == LOCAL else {})
        quiet = {"include_dashboard": False} if address == LOCAL else {}
        try:
            ray.init(**where, **quiet, log_to_driver=False, configure_logging=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UsageError(f"no Ray cluster answers at {address!r}: {error}") from error
        count = int(ray.cluster_resources().get("CPU", 0))
        return cls(slots or max(count, 1))

    def start(self, command: Sequence[str], job: Job, slot: int) -> Handle:
        """Have the cluster start ``command`` where a CPU is free."""
        del slot
        ray = import_ray()
        # Not retried: a cell that was killed is resumed by the next 'silri bench'.
        remote = ray.remote(num_cpus=1, max_retries=0)(run_command)
        here = str(Path.cwd())
        return _Remote(ray, remote.remote(list(command), job, here, platform()))

    def close(self) -> None:
        """Leave the cluster; one that was started for this ends."""
        import_ray().shutdown()


def run_command(
    command: Sequence[str], job: Job, folder: str, environment: Mapping[str, str]
) -> int:
    """On a worker: run a cell's command in ``folder``; when cancelled, let it save itself.

    ``environment`` is what whoever typed the command says of a cell's.

    Raises:
        SilriError: somebody else runs this cell.
    """
    os.chdir(folder)  # of whoever typed the command: paths may be relative to it
    with open_log(job, command) as log:
        process = spawn(command, log, environment)
    cancelled, until = False, math.inf
    try:
        while True:
            try:
                if process.poll() is not None or time.monotonic() > until:
                    break
                # Not wait(): Ray's cancelling does not wake a thread that sleeps in the kernel.
                time.sleep(POLL_S)
            except KeyboardInterrupt:  # how Ray cancels; it may do so again
                if not cancelled:
                    cancelled, until = True, time.monotonic() + GRACE_S
                    process.send_signal(signal.SIGTERM)
        return INTERRUPTED if cancelled else process.poll() or 0
    finally:
        if process.poll() is None:
            process.kill()


class _Remote:
    """A process somewhere on the cluster."""

    def __init__(self, ray: Any, reference: Any) -> None:
        self._ray, self._reference = ray, reference
        self._stopped = False
        self._asked_at = math.inf  # to stop, the last time

    def poll(self) -> int | None:
        done, _ = self._ray.wait([self._reference], timeout=0)
        if not done:
            if time.monotonic() - self._asked_at > AGAIN_S:
                self.stop()  # an interrupt may be lost in the worker
            return None
        try:
            return int(self._ray.get(self._reference))
        except self._ray.exceptions.TaskCancelledError:
            return INTERRUPTED
        except (SilriError, self._ray.exceptions.RayError) as error:
            _LOG.warning("a cell is lost: %s", str(error).strip().splitlines()[-1])
            return INTERRUPTED if self._stopped else LOST

    def stop(self) -> None:
        self._stopped, self._asked_at = True, time.monotonic()
        self._ray.cancel(self._reference, force=False)

    def kill(self) -> None:
        self._ray.cancel(self._reference, force=True)
