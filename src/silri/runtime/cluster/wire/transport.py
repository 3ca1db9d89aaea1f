"""The only place that speaks Ray: its head as a child process, and calls to the hub.

Robots use the Ray *client*: one TCP port of the head, no Ray daemon on the robot, and exceptions
instead of a process that Ray ends. Every call has a deadline.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil

from silri.core.errors import DataError, MissingExtraError, SilriError, UsageError
from silri.runtime.cluster.paths import read_record, write_record
from silri.runtime.cluster.uplink import Disconnected
from silri.runtime.cluster.wire.authentication import check_refuses_strangers, problem_with
from silri.runtime.cluster.wire.guard import end_session

_LOG = logging.getLogger(__name__)

NAMESPACE, HUB = "silri", "hub"
START_S = 60.0  # for the head to be up
HUB_WAIT_S = 10.0  # for the hub to be there once the head is: a new line costs more than waiting
CONNECT_S = 45.0  # for a line to be made; Ray starts a process for it
DEAF_S = 5.0  # after its deadline a call is not waited for any more
OBJECT_STORE_BYTES = 100_000_000  # messages only: episodes and parameters go through it
# What stays on loopback on Linux, where Ray otherwise prefers the machine's outside address and
# then listens on all of them. Its name tells of the platforms that have it by default.
LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
QUIET = {
    # The head forks a server per client while gRPC threads run; with gRPC's fork handlers about
    # one in ten dies before its exec, and the client waits 30 s for it.
    "GRPC_ENABLE_FORK_SUPPORT": "0",
    "RAY_CLIENT_INITIAL_CONNECTION_TIMEOUT_S": "5",
    "RAY_CLIENT_MAX_CONNECTION_TIMEOUT_S": "5",
    # A line that breaks is given up at once; the uplink then makes a new one.
    "RAY_CLIENT_RECONNECT_GRACE_PERIOD": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
# They tell of every line that breaks; the uplink does, too, once and in words.
NOISY = (
    "ray.client_builder",
    *(f"ray.util.client.{n}" for n in ("logsclient", "dataclient", "worker")),
)


def import_ray() -> Any:
    """The module ``ray``.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("cluster", "the cluster runtime (Ray)") from error
    logging.getLogger("ray").setLevel(logging.ERROR)  # importing it has set it to INFO
    for name in NOISY:
        logging.getLogger(name).disabled = True
    return ray


class Head:
    """The Ray head of one run: processes of their own that outlive whoever started them.

    Attributes:
        record: where its process id and ports are written, for whoever comes next.
    """

    def __init__(self, record: Path, *, host: str, port: int, client_port: int) -> None:
        self.record, self._host = record, host
        self._port, self._client_port = port, client_port

    @property
    def address(self) -> str:
        """Where uplinks connect."""
        return f"{self._host}:{self._client_port}"

    def start(self, log: Path, environment: dict[str, str], lifeline: Path) -> None:
        """Start the head unless the recorded one is alive; returns when it accepts connections.

        Args:
            log: that its output is appended to.
            environment: of its processes.
            lifeline: of the run's supervisor; the head does not outlive it.

        Raises:
            DataError: it does not come up; names the log.
        """
        known = read_record(self.record)
        if known.get("address") == self.address and _is_head(known.get("pid")):
            return
        self.stop()
        before = log.stat().st_size if log.exists() else 0
        command = [
            *(sys.executable, "-m", "silri.runtime.cluster.wire.guard", str(lifeline)),
            str(Path(sys.executable).with_name("ray")), "start", "--head", "--block",
            f"--node-ip-address={self._host}", f"--port={self._port}",
            f"--ray-client-server-port={self._client_port}", "--include-dashboard=false",
            "--include-log-monitor=false", "--no-monitor", "--dashboard-agent-listen-port=0",
            "--min-worker-port=0", "--max-worker-port=0",  # any, and none of ours
            "--disable-usage-stats", "--num-cpus=1", "--num-gpus=0",
            f"--object-store-memory={OBJECT_STORE_BYTES}",
        ]  # fmt: skip
        with log.open("ab") as output:
            # A session of its own, so that all of it can be ended at once.
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env=environment,
            )
        write_record(self.record, {"pid": process.pid, "address": self.address}, durable=True)
        import_ray()  # takes a while, and so does the head
        deadline = time.monotonic() + START_S
        # Its own word that all is up, and then the client's port, which opens when it likes.
        while b"Ray runtime started" not in _since(log, before) or not _listens(self.address):
            if process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise DataError(
                    f"Ray's head did not start on {self._host} (ports {self._port} and "
                    f"{self._client_port}); {log} says why. Are the ports in use?"
                )
            time.sleep(0.1)
        try:
            check_refuses_strangers(self._host, self._client_port, self._port)
        except UsageError:
            self.stop()
            raise

    def alive(self) -> bool:
        """Whether its process is there."""
        return _is_head(read_record(self.record).get("pid"))

    def stop(self) -> None:
        """End the head and all that belongs to it, at once: the store is safe at any moment."""
        stop_head(self.record)


def stop_head(record: Path) -> None:
    """End the head that ``record`` tells of, if it is there."""
    pid = read_record(record).get("pid")
    if isinstance(pid, int) and (_is_head(pid) or not _runs(pid)):
        end_session(pid)  # without its leader, too: the kernel reserves the number meanwhile
    record.unlink(missing_ok=True)


def _since(log: Path, start: int) -> bytes:
    with log.open("rb") as file:
        file.seek(start)
        return file.read()


def _is_head(pid: Any) -> bool:
    """Whether ``pid`` is a Ray head that runs: numbers are used again."""
    try:
        return _runs(pid) and "--head" in psutil.Process(pid).cmdline()
    except (psutil.Error, TypeError, ValueError):
        return False


def _runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class RayLine:
    """A :class:`~silri.runtime.cluster.uplink.Connection` through the Ray client."""

    def __init__(self, address: str, *, hub: bool = True) -> None:
        """Connect to the hub behind ``address`` (HOST:PORT of the Ray client).

        Args:
            address: of the head.
            hub: it must be there; False: somebody is about to make it.

        Raises:
            Disconnected: nobody answers there, or refuses our token, or has no hub.
        """
        self._ray = import_ray()
        self._hang_up_old()
        _probe(address)
        try:
            with _ended_after(CONNECT_S):
                self._ray.init(f"ray://{address}", namespace=NAMESPACE)
                self._hub = self._find_hub() if hub else None
        except Exception as error:
            self.close()
            why = _why(self._ray, error, HUB_WAIT_S)
            raise Disconnected(
                f"{address} is there, but no hub answers ({why}); it may be starting"
            ) from error

    def call(self, method: str, *arguments: Any, timeout_s: float) -> Any:
        """What the hub's method returns; see the protocol."""
        with _ended_after(timeout_s + DEAF_S):
            return call(self._ray, self._hub, method, *arguments, timeout_s=timeout_s)

    def close(self) -> None:
        """Hang up."""
        self._hang_up_old()

    def _find_hub(self) -> Any:
        deadline = time.monotonic() + HUB_WAIT_S
        while True:
            try:
                return self._ray.get_actor(HUB)
            except ValueError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.2)

    def _hang_up_old(self) -> None:
        try:
            with _ended_after(DEAF_S):
                self._ray.shutdown()
        except (ConnectionError, RuntimeError) as error:  # it was down already
            _LOG.debug("hanging up: %s", error)


@contextlib.contextmanager
def _ended_after(seconds: float) -> Iterator[None]:
    """End this process if what is inside takes longer: its supervisor starts it again.

    Ray's client knows deadlines, but not that of a peer that vanished without a word: it would
    wait for ten minutes.
    """

    def end() -> None:
        _LOG.warning("the learner has vanished without a word; a new line is made")
        os.kill(os.getpid(), signal.SIGKILL)  # the main thread hears nothing else now

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def call(ray: Any, hub: Any, method: str, *arguments: Any, timeout_s: float) -> Any:
    """One call with a deadline.

    Raises:
        Disconnected: no answer.
        SilriError: what the hub raised.
    """
    try:
        return ray.get(getattr(hub, method).remote(*arguments), timeout=timeout_s)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, SilriError):
            raise cause from None
        raise Disconnected(f"the hub failed: {_first_line(cause)}") from error
    except Exception as error:
        why = _why(ray, error, timeout_s)
        raise Disconnected(f"the hub does not answer ({why})") from error


def _why(ray: Any, error: BaseException, timeout_s: float) -> str:
    """What happened to a line, in words: gRPC's own are for its developers.

    Ray's client raises bare ``Exception`` when it is cut off, so its callers must catch that. What
    is no accident of a line but a mistake in a program is raised again, here, for all of them.
    """
    known = (ray.exceptions.RayError, grpc.RpcError, OSError, RuntimeError, ValueError)
    if type(error) is not Exception and not isinstance(error, known):
        raise error
    if isinstance(error, ray.exceptions.GetTimeoutError | TimeoutError):
        return f"within {timeout_s:.0f} s"
    if isinstance(error, ray.exceptions.RayActorError):
        return "its process died"
    if isinstance(error, ConnectionError):
        return "the line broke"
    if isinstance(error, ValueError):
        return "there is none"
    return _first_line(error)


def _listens(address: str) -> bool:
    try:
        _probe(address)
    except Disconnected:
        return False
    return True


def _probe(address: str) -> None:
    """Whether anybody listens and takes our token: Ray's client would try for a long time.

    Raises:
        Disconnected: if not; says which of the two.
    """
    if problem := problem_with(address):
        raise Disconnected(problem)


def hub_of(ray: Any, kind: type, run: Path) -> Any:
    """The hub of this head: found, or made. It outlives whoever made it."""
    with contextlib.suppress(ValueError):
        return ray.get_actor(HUB, namespace=NAMESPACE)
    options = {
        "name": HUB,
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "num_cpus": 0,
        "max_concurrency": 16,
        "max_restarts": -1,
    }
    return ray.remote(kind).options(**options).remote(run)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
