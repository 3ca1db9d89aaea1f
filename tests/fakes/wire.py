"""A TCP line that a test cuts: packets vanish, connections are reset, nobody listens."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading


class Wire:
    """Forwards connections to another port of this machine.

    Attributes:
        address: HOST:PORT to connect to.
    """

    def __init__(self, target, port=0):
        host, _, number = target.rpartition(":")
        self._target = (host, int(number))
        self._flows = threading.Event()
        self._flows.set()
        self._sockets = set()
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._start(self._accept)

    def cut(self):
        """From now on nothing gets through, and nobody is told."""
        self._flows.clear()

    def mend(self):
        self._flows.set()

    def reset(self):
        """Every connection ends with RST."""
        for each in list(self._sockets):
            with contextlib.suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._drop(each)

    def close(self):
        """Nobody listens here any more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.reset()
        self.mend()

    def _start(self, work, *arguments):
        threading.Thread(target=work, args=arguments, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.add(near)
            self._start(self._connect, near)

    def _connect(self, near):
        self._flows.wait()
        try:
            far = socket.create_connection(self._target)
        except OSError:
            self._drop(near)
            return
        self._sockets.add(far)
        self._start(self._pump, near, far)
        self._pump(far, near)

    def _pump(self, source, sink):
        try:
            while data := source.recv(65_536):
                self._flows.wait()
                sink.sendall(data)
        except OSError:
            pass
        self._drop(source)
        self._drop(sink)

    def _drop(self, one):
        self._sockets.discard(one)
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
