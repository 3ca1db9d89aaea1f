"""The real server, on a thread of this process, and clients for it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import threading
import time

from websockets.sync.client import connect

from silri.console.app import Console
from silri.console.desk import Desk
from silri.console.server import Stored, make_server

TOKEN = "a-token-that-nobody-guesses-0123456789"
HELLO = {
    "type": "hello",
    "mode": "live",
    "run": "run",
    "actions": [
        *({"name": name, "kind": "axis"} for name in "xyz"),
        {"name": "gripper", "kind": "gripper", "values": [-1, 1]},
    ],
    "cameras": ["scene", "wrist"],
}
POINTS = [{"env_step": 7, "success": 0.5}]


class Served:
    """A console without a run: what would go to the run is in ``to_run``."""

    def __init__(self, *, hello=HELLO, archive=None, others=None, now=time.monotonic):
        self.to_run, self.wanted = [], []
        self.desk = Desk(self.to_run.append, self.wanted.append, now)
        self.station = Stored(self.desk, archive)
        stations = {"robot-1": self.station, **(others or {})}
        self.console = Console(stations, TOKEN, "127.0.0.1")
        self.server = make_server(self.console)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        self._ready.wait()
        if hello is not None:
            self.do(self.desk.open, hello, lambda: POINTS)

    async def _serve(self):
        self.loop = asyncio.get_running_loop()
        self._ready.set()
        await self.server.serve([self._listener])
        self.console.close()

    def do(self, act, *arguments):
        """Call it on the server's loop."""

        async def call():
            return act(*arguments)

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(5.0)

    def close(self):
        self.server.should_exit = True
        self._thread.join()

    def get(self, path, *, token=TOKEN, **headers):
        """Status, headers and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            query = "" if token is None else f"{'&' if '?' in path else '?'}token={token}"
            connection.request("GET", path + query, headers=headers)
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()

    def page(self, *, token=TOKEN, robot=None, **keywords):
        query = "" if token is None else f"?token={token}"
        query += "" if robot is None else f"&robot={robot}"
        return Client(connect(f"ws://127.0.0.1:{self.port}/ws{query}", **keywords))


class Client:
    """A page's WebSocket."""

    def __init__(self, connecting):
        self._connecting, self.sequence = connecting, 0
        self.socket = connecting.__enter__()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._connecting.__exit__(None, None, None)

    def say(self, kind, **fields):
        self.socket.send(json.dumps({"type": kind, **fields}))

    def input(self, axes=(1, 0, 0, 0), *, hold=True):
        self.sequence += 1
        self.say("input", sequence=self.sequence, time=5.0, axes=list(axes), hold=hold)
        return self.sequence

    def hear(self, kind, timeout=5.0):
        """The next message of this type; those before it are gone."""
        while True:
            data = self.socket.recv(timeout)
            if isinstance(data, bytes):
                if kind == "picture-bytes":
                    return data
                continue
            message = json.loads(data)
            if message["type"] == kind:
                return message

    def silent(self, kind, seconds=0.2):
        """Nothing of this type comes."""
        try:
            heard = self.hear(kind, seconds)
        except TimeoutError:
            return True
        raise AssertionError(heard)
