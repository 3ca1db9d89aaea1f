"""The web application: one page, its parts, stored episodes, and the WebSocket for driving.

Whoever has no token is told nothing, not even that there is something: 404 for every address.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from silri.console.board import Board, Station
from silri.console.desk import Desk, Page
from silri.console.drawing.mirror import step_back
from silri.console.elsewhere import Elsewhere
from silri.console.stored.archive import Archive
from silri.core.errors import DataError, SilriError

STATIC = Path(__file__).parent / "static"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
CLOSE_S = 1.0  # for a page that is let go to hear of it
GONE = 4404  # why a WebSocket ends: there is no such robot
_DAY_S = 86_400

Result = TypeVar("Result")
Answer = Callable[[Request], Awaitable[Response]]


class Console:
    """Everything that the routes need.

    Attributes:
        board: of the robots.
    """

    def __init__(
        self,
        stations: Mapping[str, Station],
        token: str,
        host: str,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """Serve robots.

        Args:
            stations: by their names.
            token: that a page must show.
            host: address that is listened on; pages may come by it, or by loopback.
            elsewhere: what is heard of the run's robots on other machines.
        """
        self.board = Board(stations, elsewhere)
        self._token = token.encode()
        self._hosts = LOOPBACK | {host}
        # Cookies know no ports: two consoles on one machine must not overwrite each other's.
        self._cookie = f"silri_{hashlib.sha256(self._token).hexdigest()[:12]}"
        self._thread = ThreadPoolExecutor(1, "console-archive", step_back)

    def close(self) -> None:
        """End the archives' thread."""
        for station in self.board.stations.values():
            if station.archive is not None:
                self._thread.submit(station.archive.close).result()
        self._thread.shutdown()

    async def in_archive(
        self, connection: HTTPConnection | None, ask: Callable[[Archive], Result]
    ) -> Result:
        """Ask the archive of the robot that ``connection`` is about (None: the first).

        Raises:
            DataError: there is none yet; or what ``ask`` raises.
        """
        archive = self.station(connection).archive
        if archive is None:
            raise DataError("the console gets ready")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: ask(archive))

    def station(self, connection: HTTPConnection | None) -> Station:
        """The robot that ``connection`` is about: ``?robot=NAME``, or the first.

        Raises:
            DataError: there is none of that name.
        """
        name = None if connection is None else connection.query_params.get("robot")
        return self.board.find(name)

    def allows(self, connection: HTTPConnection) -> bool:
        """Whether it shows the token, and comes from a page of ours."""
        shown = (connection.query_params.get("token"), connection.cookies.get(self._cookie))
        known = [hmac.compare_digest(each.encode(), self._token) for each in shown if each]
        return any(known) and self._ours(connection)

    def _ours(self, connection: HTTPConnection) -> bool:
        """A browser says where a page is from; what has no page, such as a script, does not."""
        host = connection.headers.get("host", "")
        # Another site's name that points at this machine is not us.
        if urlsplit(f"//{host}").hostname not in self._hosts:
            return False
        origin = connection.headers.get("origin")
        return origin is None or origin == f"http://{host}"

    def remember(self, response: Response) -> None:
        """Let the page's further requests come without the token in their address."""
        response.set_cookie(
            self._cookie,
            self._token.decode(),
            max_age=_DAY_S,
            httponly=True,
            # Not strict: a link on the page of another machine may lead here. Whatever is no
            # such step from page to page comes without it.
            samesite="lax",
        )


class Routes:
    """What each address answers, to whoever is allowed to ask."""

    def __init__(self, console: Console) -> None:
        """Answer for ``console``."""
        self._console = console

    async def page(self, request: Request) -> Response:
        """The page; the cookie lets its parts come."""
        del request
        response = FileResponse(STATIC / "index.html")
        self._console.remember(response)
        return response

    async def static(self, request: Request) -> Response:
        """A part of the page."""
        path = (STATIC / request.path_params["path"]).resolve()
        if not path.is_relative_to(STATIC) or not path.is_file():
            return _nothing()
        return FileResponse(path)

    async def run(self, request: Request) -> Response:
        """What the run is, with its summary."""
        station = self._console.station(request)
        hello, archive = station.desk.hello, station.archive
        if hello is None or archive is None:
            raise DataError("the console gets ready")
        return JSONResponse({**hello, "summary": archive.record.summary()})

    async def episodes(self, request: Request) -> Response:
        """The stored episodes."""
        index = await self._console.in_archive(request, lambda archive: archive.index())
        return JSONResponse(index)

    async def episode(self, request: Request) -> Response:
        """One of them, step by step."""
        number = request.path_params["episode"]
        steps = await self._console.in_archive(request, lambda archive: archive.steps(number))
        return JSONResponse(steps)

    async def frame(self, request: Request) -> Response:
        """A picture of one of its steps."""
        number, step = request.path_params["episode"], request.path_params["step"]
        camera = _camera(request.query_params)
        data = await self._console.in_archive(
            request, lambda archive: archive.frame(number, step, camera)
        )
        return Response(data, media_type="image/jpeg")

    async def places(self, request: Request) -> Response:
        """Where the run has been."""
        return JSONResponse(await self._console.in_archive(request, lambda archive: archive.map()))

    async def socket(self, websocket: WebSocket) -> None:
        """A page."""
        if not self._console.allows(websocket):
            await websocket.send_denial_response(_nothing())
            return
        await websocket.accept()
        board = self._console.board
        try:
            desk = self._console.station(websocket).desk
        except DataError as error:  # a browser is told nothing of a socket that was not accepted
            gone = {**board.message(), "type": "gone", "text": str(error)}
            await websocket.send_json(gone)
            await websocket.close(GONE)
            return
        await serve(desk, board, websocket)

    def guarded(self, answer: Answer) -> Answer:
        """``answer`` for those who show the token, errors as JSON; 404 for others."""

        async def route(request: Request) -> Response:
            if not self._console.allows(request):
                return _nothing()
            try:
                response = await answer(request)
            except SilriError as error:
                response = JSONResponse({"error": str(error)}, _status(error))
            response.headers.update(HEADERS)
            return response

        return route


def application(console: Console) -> Starlette:
    """The application that serves ``console``."""
    routes = Routes(console)
    answers = {
        "/": routes.page,
        "/static/{path:path}": routes.static,
        "/api/run": routes.run,
        "/api/episodes": routes.episodes,
        "/api/episodes/{episode:int}": routes.episode,
        "/api/episodes/{episode:int}/frames/{step:int}.jpg": routes.frame,
        "/api/map": routes.places,
    }
    guarded = [Route(path, routes.guarded(answer)) for path, answer in answers.items()]
    return Starlette(routes=[*guarded, WebSocketRoute("/ws", routes.socket)])


def _status(error: SilriError) -> int:
    """What is not stored is not found; what cannot be drawn may be another time."""
    return 404 if isinstance(error, DataError) else 503


def _nothing() -> Response:
    """What an address is that does not exist."""
    return Response("Not Found", 404, media_type="text/plain")


def _camera(query: Mapping[str, str]) -> int:
    text = query.get("camera", "0")
    if not text.isdecimal() or len(text) > 3:
        raise DataError(f"there is no camera {text[:20]!r}")
    return int(text)


async def serve(desk: Desk, board: Board, websocket: WebSocket) -> None:
    """One page, from its coming to its going: it shows one robot, and drives no other."""
    page = desk.come(board.first())
    read = asyncio.create_task(_read(desk, page, websocket))
    write = asyncio.create_task(_write(desk, page, websocket))
    tasks = [read, write, asyncio.create_task(page.hopeless.wait())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if write in done and write.exception() is None:
            # It is gone, but what it said last is yet to be read: that it lets go, say.
            await asyncio.wait([read], timeout=CLOSE_S)
    finally:
        desk.leave(page)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):  # a fault of ours, for the log
            raise error
    if page.hopeless.is_set():
        with contextlib.suppress(TimeoutError, WebSocketDisconnect, RuntimeError):
            await asyncio.wait_for(websocket.close(1013), CLOSE_S)  # try again later


async def _read(desk: Desk, page: Page, websocket: WebSocket) -> None:
    while (message := await websocket.receive())["type"] == "websocket.receive":
        text = message.get("text")
        desk.hear(page, message["bytes"] if text is None else text)


async def _write(desk: Desk, page: Page, websocket: WebSocket) -> None:
    """Texts first; a picture only when the page has drawn the last one of its camera."""
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            for text in await page.news():
                await websocket.send_text(text)
            for camera, step, data in desk.frames(page):
                await websocket.send_bytes(bytes([camera]) + step.to_bytes(4, "big") + data)
