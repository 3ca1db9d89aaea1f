"""The console's process: ``python -m silri.console.server``, started by the run it belongs to.

Its settings are one line of JSON on standard input; when that ends, so does the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from silri.console.app import Console, application
from silri.console.desk import Desk
from silri.console.elsewhere import Elsewhere, report
from silri.console.feed import Feed
from silri.console.line import where
from silri.console.stored.archive import Archive
from silri.console.stored.replay import Replay
from silri.runtime.pace.priority import yield_to_control

MESSAGE_BYTES = 65_536  # of a WebSocket message at most; a larger one ends the connection
PING_S = 20.0  # a page that does not answer for so long is gone
STOP_POLL_S = 0.1


def main() -> None:
    """Serve until standard input ends."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = json.loads(sys.stdin.buffer.readline())
    listener = socket.socket(fileno=settings["fd"])
    yield_to_control(settings.get("core"))
    asyncio.run(_live(settings, listener))


async def _live(settings: dict[str, Any], listener: socket.socket) -> None:
    """Follow the robots of a run."""
    numbers = itertools.count(1)
    feeds = [
        Feed(
            robot["name"],
            where(robot),
            time.monotonic,
            numbers,
            stops=robot.get("stops", "run"),
        )
        for robot in settings["robots"]
    ]
    heard = settings.get("heard")
    elsewhere = Elsewhere(Path(heard), time.monotonic) if heard else None
    stations = {feed.name: feed for feed in feeds}
    console = Console(stations, settings["token"], settings["host"], elsewhere)
    server = make_server(console)
    telling = [
        report(Path(robot["spool"]), settings["address"], feed.desk.status)
        for robot, feed in zip(settings["robots"], feeds, strict=True)
        if settings.get("address")
    ]
    following = asyncio.gather(console.board.follow(), *(feed.follow() for feed in feeds), *telling)
    following.add_done_callback(lambda _: setattr(server, "should_exit", True))
    watch_input(server)
    try:
        await server.serve([listener])
    finally:
        following.cancel()
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await following  # an error of it is the process's
        finally:
            for feed in feeds:
                feed.close()
            console.close()


@dataclass
class Stored:
    """A run that is over, as a robot of a console."""

    desk: Desk
    archive: Archive | None


async def serve_replay(
    replay: Replay, listener: socket.socket, token: str, host: str, stop: Callable[[], bool]
) -> None:
    """Show a stored run until ``stop`` says so.

    Args:
        replay: the run.
        listener: that pages connect to.
        token: that they must show.
        host: address of ``listener``.
        stop: asked a few times per second.
    """
    desk = Desk(lambda message: None, lambda camera: None, time.monotonic)
    console = Console({"": Stored(desk, replay.archive)}, token, host)
    server = make_server(console)
    serving = asyncio.create_task(server.serve([listener]))
    try:
        hello, why = await console.in_archive(None, lambda _: replay.hello())
        desk.phase("ended", "a stored run")
        points = await console.in_archive(None, lambda _: replay.points())
        desk.open(hello, lambda: points)
        if why:
            desk.say({"type": "picture", "picture": "none", "text": why})
        while not stop() and not serving.done():
            await asyncio.sleep(STOP_POLL_S)
    finally:
        server.should_exit = True
        await serving
        console.close()


def make_server(console: Console) -> uvicorn.Server:
    """A server for ``console``; it is up to the caller what it listens on."""
    config = uvicorn.Config(
        application(console),
        ws="websockets-sansio",
        ws_max_size=MESSAGE_BYTES,
        ws_ping_interval=PING_S,
        ws_ping_timeout=PING_S,
        ws_per_message_deflate=False,  # pictures do not deflate, and inputs must not wait
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)


def watch_input(server: uvicorn.Server, read: Callable[[], bytes] = sys.stdin.buffer.read) -> None:
    """End the server when standard input ends: the run closes it, or has died."""

    def wait() -> None:
        read()
        server.should_exit = True

    threading.Thread(target=wait, name="console-lifeline", daemon=True).start()


if __name__ == "__main__":
    main()
