"""The run's end of the line to its console: it never makes the control loop wait.

What is sent is put into a bounded box, and a thread of its own writes it to whoever is connected.
A console that cannot follow loses the oldest steps, never the beginnings and ends of episodes. One
that connects, or connects again, is first told everything that it needs.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import socket
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any

from silri.console.wire import GREETING, TO_RUN, WireError, pack, receive

STEPS_KEPT = 500  # waiting steps; older ones are dropped
OTHERS_KEPT = 2_000  # other waiting messages; a console that far behind is let go
GREETING_S = 2.0  # for a caller to say who it is
_BATCH = 32  # messages that the writer takes at once
_BACKLOG_STEPS = 2_000  # of the running episode, for a console that connects again
_LOG = logging.getLogger(__name__)

Message = dict[str, Any]


class Outbox:
    """What waits to be written, and what a console that connects later must know.

    Attributes:
        dropped: steps that nobody read in time.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._ready = threading.Condition()
        self._waiting: deque[Message] = deque()
        self._steps = self._lost = 0  # waiting steps; whether the console is hopelessly behind
        self._open = self._closed = False
        self._latest: dict[str, Message] = {}  # of a kind, the newest
        self._episode: deque[Message] = deque(maxlen=_BACKLOG_STEPS)

    def put(self, message: Message) -> None:
        """Send it when there is time; for the loop's thread, returns at once."""
        with self._ready:
            self._remember(message)
            if not self._open:
                return
            if message["kind"] == "step":
                if self._steps >= STEPS_KEPT:
                    self._drop_oldest_step()
                self._steps += 1
            elif len(self._waiting) - self._steps >= OTHERS_KEPT:
                self._shut()
                return
            self._waiting.append(message)
            self._ready.notify()

    def open(self) -> None:
        """Somebody is there: begin with what is known already."""
        with self._ready:
            known = [self._latest[kind] for kind in ("run", "episode") if kind in self._latest]
            known += self._episode
            known += [self._latest[kind] for kind in ("control",) if kind in self._latest]
            self._waiting = deque(known)
            self._steps = len(self._episode)
            self._open = True
            self._ready.notify()

    def shut(self) -> None:
        """Nobody is there any more."""
        with self._ready:
            self._shut()

    def close(self) -> None:
        """Let the writer write what waits and end."""
        with self._ready:
            self._closed = True
            self._ready.notify()

    def take(self) -> list[Message] | None:
        """What waits longest, as soon as there is something; None: shut, or closed and empty."""
        with self._ready:
            while self._open and not self._waiting and not self._closed:
                self._ready.wait()
            if not self._open or not self._waiting:
                return None
            taken = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            self._steps -= sum(message["kind"] == "step" for message in taken)
            return taken

    def _shut(self) -> None:
        self._open = False
        self._waiting.clear()
        self._steps = 0
        self._ready.notify()

    def _drop_oldest_step(self) -> None:
        index = next(i for i, each in enumerate(self._waiting) if each["kind"] == "step")
        del self._waiting[index]
        self._steps -= 1
        self.dropped += 1

    def _remember(self, message: Message) -> None:
        kind = message["kind"]
        if kind == "step":
            # Pictures are many bytes, and nobody looks at old ones.
            seen = {k: v for k, v in message["observation"].items() if v.ndim == 1}
            self._episode.append({**message, "observation": seen})
        elif kind in ("run", "episode", "control"):
            self._latest[kind] = message
            if kind == "episode":
                self._episode.clear()


class RunLink:
    """Waits on a loopback port for the run's console, one at a time.

    Attributes:
        port: that it waits on.
        refused: how many callers or frames were turned away, by reason.
    """

    def __init__(
        self,
        token: str,
        on_message: Callable[[Mapping[str, Any]], None],
        on_connected: Callable[[], None] = lambda: None,
    ) -> None:
        """Wait from now on.

        Args:
            token: what a console must say first.
            on_message: told of what it sends, on a thread of the link.
            on_connected: told when it has said so, likewise.
        """
        self._token, self._on_message, self._on_connected = token.encode(), on_message, on_connected
        self.refused: Counter[str] = Counter()
        self._box = Outbox()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._connection: socket.socket | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="console-link", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Steps that the console was too slow for."""
        return self._box.dropped

    def send(self, message: Message) -> None:
        """Tell the console, if there is one; never waits."""
        self._box.put(message)

    def close(self) -> None:
        """Write what waits, for a second at most, and end."""
        self._closing = True
        self._box.close()
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._server.close()
        self._thread.join(timeout=1.0)
        connection = self._connection
        if connection is not None:
            _hang_up(connection)
        self._thread.join(timeout=1.0)

    def _serve(self) -> None:
        while not self._closing:
            try:
                connection, _ = self._server.accept()
            except OSError:  # closed
                return
            with connection:
                try:
                    self._greet(connection)
                    self._talk(connection)
                except (OSError, WireError) as error:
                    self.refused["broken"] += isinstance(error, WireError)
                    _LOG.debug("the console's line broke: %s", error)

    def _greet(self, connection: socket.socket) -> None:
        """Who is it?

        Raises:
            WireError: somebody without the token.
            OSError: nobody who says so in time.
        """
        connection.settimeout(GREETING_S)
        greeting = receive(connection, GREETING) or {}
        said = greeting.get("token")
        if not isinstance(said, str) or not hmac.compare_digest(said.encode(), self._token):
            self.refused["token"] += 1
            raise WireError("a caller without the token")
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _talk(self, connection: socket.socket) -> None:
        self._connection = connection
        self._on_connected()
        self._box.open()
        writer = threading.Thread(target=self._write, args=[connection], daemon=True)
        writer.start()
        try:
            while (message := receive(connection, TO_RUN)) is not None:
                self._on_message(message)
        finally:
            self._box.shut()
            self._connection = None
            _hang_up(connection)
            writer.join()

    def _write(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the reader notices, too
            while (messages := self._box.take()) is not None:
                for message in messages:
                    connection.sendall(pack(message))
        _hang_up(connection)


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
