"""A server that says to the page what a test says, and remembers what the page sent."""

from __future__ import annotations

import asyncio
import io
import json
import struct
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

import silri.console

STATIC = Path(silri.console.__file__).parent / "static"
POLICY = "default-src 'self'; img-src 'self' blob: data:; connect-src 'self'"
AXES = [{"name": name, "kind": "axis"} for name in ("x", "y", "z")]
GRIPPER = {"name": "gripper", "kind": "gripper", "values": [-1, 1]}
HELLO = {
    "type": "hello",
    "mode": "live",
    "run": "runs/test",
    "agent": "silri",
    "env": "fake/one-arm",
    "operator": "web",
    "rate_hz": 20.0,
    "actions": [*AXES, GRIPPER],
    "cameras": ["scene"],
    "diagnostics": ["lambda", "bound", "distance"],
    "robots": ["robot-1"],
    "you": "page-1",
    "steps": 5000,
}
EPISODE = {
    "type": "episode",
    "episode": 7,
    "kind": "training",
    "task": "open the drawer",
    "done": 2,
    "of": 2,
    "limit": 100,
}


def control(phase: str, holder: str | None = None, you: bool = False, reason: str = ""):
    return {"type": "control", "phase": phase, "holder": holder, "you": you, "reason": reason}


def step(number: int, driver: str = "policy", episode: int = 7, **why: Any):
    return {
        "type": "step",
        "episode": episode,
        "step": number,
        "env_step": number + 1,
        "driver": driver,
        "weight": float(driver == "human"),
        "action": [0.5, -0.5, 0.0, -1.0],
        "human": [0.5, -0.5, 0.0, -1.0] if driver == "human" else None,
        "reward": 0.0,
        "why": why,
        "advice": None,
    }


def reasons(number: int) -> dict[str, Any]:
    """What SiLRI says about a step, with a distance above the bound in every second one."""
    return {
        "lambda": 1.5,
        "bound": 0.3,
        "distance": 0.6 if number % 2 else 0.1,
        "q_policy": 5.0 + number / 10,
        "q_human": 4.0,
        "imitation": 12.5,
        "human_mean": [0.1, 0.2, -0.3],
        "human_std": [0.1, 0.2, 0.3],
    }


def picture(colour: tuple[int, int, int], size: int = 64) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


class Feed:
    """Told by tests; every page that connects is greeted with ``greeting``."""

    def __init__(self) -> None:
        self.greeting: list[dict] = [HELLO, control("autonomous"), EPISODE]
        self.once: list[dict] | None = None  # the greeting of the next page only
        self.received: list[tuple[int, dict]] = []  # (number of the connection, message)
        self.episodes: list[dict] = []
        self.asked: list[str] = []  # paths of pictures
        self.queries: list[dict] = []  # of the addresses that pages connected to
        self.answers = True  # to pings and inputs
        self.accepts = True
        self._sockets: dict[int, WebSocket] = {}
        self._connections = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self.url = ""

    def messages(self, kind: str, connection: int | None = None) -> list[dict]:
        return [
            message
            for number, message in list(self.received)
            if message["type"] == kind and connection in (None, number)
        ]

    def held(self) -> list[dict]:
        """The inputs of somebody who drives."""
        return [message for message in self.messages("input") if message["hold"]]

    def released(self) -> list[dict]:
        """The inputs of somebody who lets go."""
        return [message for message in self.messages("input") if not message["hold"]]

    def axes(self) -> list[float] | None:
        """Of the last input while somebody drives."""
        held = self.held()
        return held[-1]["axes"] if held else None

    def wait(self, condition: Callable[[], Any], seconds: float = 5.0) -> Any:
        """The first true value of ``condition``."""
        end = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < end, f"nothing after {seconds} s; {self.received[-5:]}"
            time.sleep(0.005)
        return value

    def say(self, *messages: dict, to: int | None = None) -> None:
        for message in messages:
            self._send(json.dumps(message), to)

    def frame(self, number: int, jpeg: bytes, camera: int = 0) -> None:
        self._send(struct.pack(">BI", camera, number) + jpeg, None)

    def hang_up(self) -> None:
        for socket in list(self._sockets.values()):
            self._run(socket.close(1012))

    @property
    def connections(self) -> int:
        return self._connections

    def _send(self, data: str | bytes, to: int | None) -> None:
        for number, socket in list(self._sockets.items()):
            if to in (None, number):
                send = socket.send_text if isinstance(data, str) else socket.send_bytes
                self._run(send(data))

    def _run(self, coroutine: Any) -> None:
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(5)

    async def _socket(self, socket: WebSocket) -> None:
        if not self.accepts:
            await socket.close(1013)
            return
        await socket.accept()
        self.queries.append(dict(socket.query_params))
        self._connections += 1
        number = self._connections
        greeting, self.once = self.once or self.greeting, None
        for message in greeting:
            await socket.send_json(message)
        self._sockets[number] = socket
        with suppress(WebSocketDisconnect):
            while True:
                received = await socket.receive()
                if received["type"] != "websocket.receive":
                    break
                message = json.loads(received["text"])
                self.received.append((number, message))
                if self.answers and message["type"] in ("ping", "input"):
                    pong = {key: message[key] for key in ("sequence", "time")}
                    applied = message["sequence"] if message["type"] == "input" else 0
                    # Whoever has hung up is not told, but heard to the end.
                    with suppress(WebSocketDisconnect, WebSocketDisconnected):
                        await socket.send_json({"type": "pong", **pong, "applied": applied})
        self._sockets.pop(number, None)
        self.received.append((number, {"type": "gone"}))

    async def _episode(self, request: Any) -> Response:
        episode = int(request.path_params["episode"])
        row = next(row for row in self.episodes if row["episode"] == episode)
        steps = [
            step(i, "human" if i < 5 else "policy", episode, **reasons(i))
            for i in range(row["length"])
        ]
        return JSONResponse({"steps": steps, "success": row["success"], "task": "open the drawer"})

    async def _picture(self, request: Any) -> Response:
        self.asked.append(request.url.path)
        shade = int(request.path_params["step"]) * 10
        return Response(picture((shade, 0, 0)), media_type="image/jpeg")

    def app(self) -> Starlette:
        async def page(request: Any) -> Response:
            headers = {"Content-Security-Policy": POLICY}
            return FileResponse(STATIC / "index.html", headers=headers)

        async def episodes(request: Any) -> Response:
            return JSONResponse(self.episodes)

        async def visited(request: Any) -> Response:
            points = [[i / 50, (i % 7) / 10, float(i), i % 3 == 0] for i in range(50)]
            return JSONResponse({"points": points, "axes": ["x", "y"], "of": "imitation"})

        return Starlette(
            routes=[
                Route("/", page),
                Route("/api/episodes", episodes),
                Route("/api/episodes/{episode:int}", self._episode),
                Route("/api/episodes/{episode:int}/frames/{step:int}.jpg", self._picture),
                Route("/api/map", visited),
                WebSocketRoute("/ws", self._socket),
                Mount("/static", StaticFiles(directory=STATIC)),
            ]
        )

    @contextmanager
    def serving(self):
        config = uvicorn.Config(
            self.app(), port=0, log_level="error", ws="websockets-sansio", lifespan="off"
        )
        server = uvicorn.Server(config)

        def serve() -> None:
            with asyncio.Runner() as runner:
                self._loop = runner.get_loop()
                runner.run(server.serve())

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.005)
            port = server.servers[0].sockets[0].getsockname()[1]
            self.url = f"http://127.0.0.1:{port}/"
            yield self
        finally:
            server.should_exit = True
            server.force_exit = True
            thread.join(10)
