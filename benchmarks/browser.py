"""A run with its page in real Chromium, for ``console.py`` and ``screenshots.py``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
START_S = 300.0  # for a run to say where its page is; everything may have to be compiled


class Run:
    """``silri VERB ...`` with a page.

    Attributes:
        folder: of the run, or of the data set that it records.
        url: of the page.
    """

    def __init__(self, verb: str, *flags: str, folder: Path, notes: Path | None = None) -> None:
        """Start it and wait for the address."""
        self.folder, self._log = folder, folder.with_suffix(f".{verb}.txt")
        where = () if verb == "console" else ("--out",)
        more = {"PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}
        more |= {"PYTHONUNBUFFERED": "1", "SILRI_TIMED": str(notes or folder.parent)}
        with self._log.open("w") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "silri.cli.main", verb, *flags, *where, str(folder)],
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **more},
            )
        self.url = self._address()

    def _address(self) -> str:
        ends = time.monotonic() + START_S
        while not (found := re.search(r"http://\S+", self._log.read_text())):
            if self._process.poll() is not None or time.monotonic() > ends:
                raise SystemExit(f"no page:\n{self._log.read_text()}")
            time.sleep(0.1)
        return found[0]

    @property
    def server(self) -> int:
        """Process id of the page's server."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        for child in children.read_text().split():
            if "silri.console.server" in Path(f"/proc/{child}/cmdline").read_text():
                return int(child)
        raise SystemExit("the page has no server")

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def record(folder: Path, count: int, *flags: str) -> Path:
    """``count`` demonstrations of the scripted expert."""
    command = [sys.executable, "-m", "silri.cli.main", "record", "--operator", "expert", *flags]
    command += ["--episodes", str(count), "--out", str(folder)]
    more = {"PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}
    environment = {**os.environ, **more, "SILRI_TIMED": str(folder.parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return folder


def resident(pid: int) -> float:
    """MB of memory that a process has for itself and its libraries."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1e3  # type: ignore[index]


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A browser, as the tests of the page start it."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    if path is None:
        raise SystemExit("no chromium on this machine (.ci/run installs it)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def until(page: Any, expression: str, seconds: float = 60.0) -> None:
    """Wait for an expression; Playwright's own way needs eval, which the page's policy forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        if time.monotonic() > end:
            raise SystemExit(f"not after {seconds} s: {expression}")
        page.wait_for_timeout(10)


def opened(browser: Any, url: str, width: int = 1440, height: int = 900, **options: Any) -> Any:
    """The page of a run, with a picture in it."""
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    page = context.new_page()
    page.goto(url)
    until(page, "silri.state.hello !== null && silri.state.episode !== null", START_S)
    until(page, "silri.scene.views.length > 0 && silri.scene.views[0].step !== null", START_S)
    return page


class NarrowLine:
    """A line to a server that passes so many bytes per second in each direction, and counts them.

    Attributes:
        url: that a page opens instead of the server's.
        down: bytes that have come from the server.
    """

    def __init__(self, url: str, bytes_per_s: float, delay_s: float = 0.01) -> None:
        """Serve on a port of its own, on a thread of its own, for as long as this process."""
        where = urlsplit(url)
        self._to = (where.hostname, where.port)
        self._rate, self._delay, self.down = bytes_per_s, delay_s, 0
        self._ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True).start()
        self._ready.wait()
        self.url = url.replace(f":{where.port}/", f":{self._port}/")

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        self._free = {"up": 0.0, "down": 0.0}  # when the line can take more, all connections' own
        self._ready.set()
        await server.serve_forever()

    async def _connected(self, reader: Any, writer: Any) -> None:
        there, back = await asyncio.open_connection(*self._to)
        ways = self._pass(reader, back, "up"), self._pass(there, writer, "down")
        await asyncio.gather(*ways, return_exceptions=True)

    async def _pass(self, reader: Any, writer: Any, way: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            while data := await reader.read(4096):
                self._free[way] = max(loop.time(), self._free[way]) + len(data) / self._rate
                self.down += len(data) * (way == "down")
                await asyncio.sleep(self._free[way] - loop.time())
                loop.call_later(self._delay, writer.write, data)
                await writer.drain()
        finally:
            loop.call_later(2 * self._delay, writer.close)
