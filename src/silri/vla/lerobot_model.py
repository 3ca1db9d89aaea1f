"""SmolVLA, pi0 and pi0.5 as frozen feature providers: the client of a server that lerobot runs in.

lerobot 0.4.4 needs another PyTorch than ours, and gigabytes: it has an environment of its own, and
:mod:`silri.vla.serving.feature_server` runs there. It is started here (``--vla.python``) and ends
with us, or runs already (``--vla.server``, its token in the environment).
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import secrets
import selectors
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, Any

import numpy as np

from silri.core.errors import BackboneFault, ConfigError
from silri.vla import files
from silri.vla.backbone import Backbone, Embedded, Inputs
from silri.vla.config import VlaConfig
from silri.vla.serving import feature_server
from silri.vla.serving.feature_server import PROTOCOL, TOKEN, receive, send

SAFE = "The robot has stopped; what is finished is saved: mend it and resume the run"
_NEEDS = "it needs lerobot (0.4.4) with the extra of its policy, and msgpack"
_COPIES = 8  # bytes of a parameter: float32, once in the policy and once in the file that is read
_END_S = 5.0  # for a server to end by itself
_open: dict[tuple[Any, ...], Server] = {}


class Server:
    """A connection to a feature server, and the server itself if it was started here.

    Attributes:
        described: what it says of its model.
        name: for messages.
    """

    def __init__(self, config: VlaConfig) -> None:
        """Start it, or find it; then greet it.

        Raises:
            ConfigError: the settings name none, its token is wrong, or its Python is not there.
            BackboneFault: it does not start, or does not answer.
        """
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._timeout_s = config.timeout_s
        try:
            if config.server is not None:
                address, token = config.address, os.environ.get(TOKEN, "")
                self.name = f"the feature server at {config.server}"
                if not token:
                    raise ConfigError(f"{self.name} asks for its token: set {TOKEN} to it")
            else:
                self.name = f"lerobot {config.weights}"
                address, token = self._started(config)
            self.described = self._greeted(address, token)
        except BaseException:
            self.close()
            raise
        self.name = f"{self.name} ({self.described['name']})"

    @property
    def alive(self) -> bool:
        """Nothing has gone wrong with it that is known."""
        ended = self._process is not None and self._process.poll() is not None
        return self._socket is not None and not ended

    @property
    def process_id(self) -> int | None:
        """Of the server, if it was started here."""
        return None if self._process is None else self._process.pid

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Its answer to one observation.

        Raises:
            BackboneFault: there is none by the deadline, or it says that it has failed; then the
                connection is closed.
        """
        with self._lock:
            if self._socket is None:
                raise BackboneFault(f"{self.name} is closed. {SAFE}")
            try:
                answer = self._exchange(self._socket, message)
            except BackboneFault:
                self.close()
                raise
        return answer

    def close(self) -> None:
        """Let go of the server; one that was started here ends."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._log is not None:
            self._log.close()
            self._log = None

    def _started(self, config: VlaConfig) -> tuple[tuple[str, int], str]:
        """The address and the token of a new process."""
        if config.python is None:
            raise ConfigError(
                "vla.model lerobot takes vla.python, the Python of an environment with lerobot, "
                f"or vla.server, the HOST:PORT of {Path(feature_server.__file__).name}"
            )
        folder = files.folder_of(config.weights, "lerobot")
        remedy = "take a smaller model, or run the server elsewhere (--vla.server)"
        if config.device == "cpu":
            files.check_memory(folder, _COPIES, files.free_memory(), self.name, remedy)
        token = secrets.token_hex(16)
        own = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the server)
        try:
            self._process = subprocess.Popen(
                [
                    *(config.python, feature_server.__file__, "--weights", str(folder)),
                    *("--device", config.device, "--dtype", config.dtype, "--child"),
                ],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
                env={**own, TOKEN: token}, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise ConfigError(f"vla.python '{config.python}' cannot be run: {error}") from error
        return ("127.0.0.1", self._port(config.start_s)), token

    def _port(self, start_s: float) -> int:
        """What a new server prints once it can answer."""
        assert self._process is not None
        assert self._process.stdout is not None
        said, deadline = b"", time.monotonic() + start_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not said.endswith(b"\n"):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise BackboneFault(
                        f"{self.name}: its server has not loaded the model within {start_s:g} s "
                        f"(--vla.start-s). {self._last_words()}"
                    )
                if not (part := os.read(self._process.stdout.fileno(), 1 << 10)):
                    code = self._process.wait()
                    raise BackboneFault(
                        f"{self.name}: its server ended with code {code}; {_NEEDS}. "
                        f"{self._last_words()}"
                    )
                said += part
        return int(json.loads(said)["port"])

    def _last_words(self) -> str:
        if self._log is None:
            return ""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return f"It said last: {lines[-1].strip()}" if lines else "It said nothing"

    def _greeted(self, address: tuple[str, int], token: str) -> dict[str, Any]:
        try:
            self._socket = socket.create_connection(address, self._timeout_s)
        except OSError as error:
            raise BackboneFault(
                f"{self.name} cannot be reached ({error}): start it, or give its address. {SAFE}"
            ) from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        described = self._exchange(self._socket, {"token": token}, greeting=True)
        if described.get("protocol") != PROTOCOL:
            raise ConfigError(
                f"{self.name} speaks protocol {described.get('protocol')}; this silri {PROTOCOL}: "
                f"run the server that came with it, {feature_server.__file__}"
            )
        return described

    def _exchange(
        self, connection: socket.socket, message: dict[str, Any], *, greeting: bool = False
    ) -> dict[str, Any]:
        try:
            connection.settimeout(self._timeout_s)
            send(connection, message)
            answer = receive(connection)
        except TimeoutError as error:
            raise BackboneFault(
                f"{self.name} has not answered within {self._timeout_s:g} s (--vla.timeout-s). "
                f"{SAFE}"
            ) from error
        except (OSError, ValueError) as error:
            raise BackboneFault(f"{self.name} is lost ({error}). {SAFE}") from error
        if answer is None:
            raise BackboneFault(f"{self.name} has closed the connection. {SAFE}")
        if greeting and "error" in answer:
            raise ConfigError(f"{self.name} refuses us: {answer['error']} ({TOKEN})")
        if "error" in answer:
            raise BackboneFault(f"{self.name} has failed: {answer['error']}. {SAFE}")
        return answer


def load(config: VlaConfig) -> Backbone:
    """The policy in ``vla.weights`` behind a server, or the one that ``vla.server`` has.

    Raises:
        ConfigError, DataError, BackboneFault: see :class:`Server`.
    """
    if config.server is not None and (config.python, config.weights) != (None, None):
        raise ConfigError("vla.server has its own weights: give vla.server, or the other two")
    key = (config.server, config.python, config.weights, config.device, config.dtype)
    if (known := _open.get(key)) is not None and not known.alive:
        known.close()
    if known is None or not known.alive:
        _open[key] = Server(config)
    server, wants_action = _open[key], config.prior_action
    described = server.described

    def embed(inputs: Inputs) -> Embedded:
        answer = server.ask(
            {
                "frames": dict(inputs.frames),
                "instruction": inputs.instruction,
                "state": inputs.state,
                "action": wants_action,
            }
        )
        embedding, action = answer.get("embedding"), answer.get("action")
        if not isinstance(embedding, np.ndarray):
            raise BackboneFault(f"{server.name} answers without an embedding. {SAFE}")
        return Embedded(embedding, action if isinstance(action, np.ndarray) else None)

    return Backbone(
        name=server.name,
        digest=str(described["digest"]),
        size=int(described["size"]),
        action_size=described["action"],
        cameras=tuple(described["cameras"]),
        state_size=described["state"],
        embed=embed,
        runs_on=str(described["runs_on"]),
    )


def servers() -> list[Server]:
    """Those that are open."""
    return list(_open.values())


def close_servers() -> None:
    """Let go of every server; those that were started here end."""
    for server in _open.values():
        server.close()
    _open.clear()


atexit.register(close_servers)
