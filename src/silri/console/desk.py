"""The pages: who they are, who of them holds control, what each has been told.

Lives on the server's event loop and never waits: what a page has not read yet is bounded.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from silri.console.messages import (
    Ask,
    Drawn,
    Input,
    PageMessage,
    Ping,
    Refusals,
    Refused,
    Rising,
    TakeControl,
    parse,
)

IDLE_S = 10.0  # whoever holds control and says nothing for so long may lose it to another
WAITING = 2_000  # messages that a page may be behind
REFUSED_PER_S = 5.0  # refusals that a page is told of; all are counted
_TIMES = 500  # inputs whose time is remembered until they are executed


class Page:
    """One browser page.

    Attributes:
        name: of it, as other pages see it.
        ready: cameras whose next picture may be sent.
        shown: camera to the number of its newest picture here.
        refusals: what it said and was not obeyed.
        hopeless: set when it is so far behind that it is to be let go.
    """

    def __init__(self, name: str, cameras: int) -> None:
        self.name = name
        self.ready = set(range(cameras))
        self.shown: dict[int, int] = {}
        self.refusals = Refusals()
        self.rising = Rising()
        self.spoke = self.complained = float("-inf")
        self.times: dict[int, float] = {}
        self.hopeless = asyncio.Event()
        self._waiting: deque[str] = deque()
        self._news = asyncio.Event()

    def tell(self, message: Mapping[str, Any]) -> None:
        """Send it when the page can take it; one that is hopelessly behind is let go."""
        if len(self._waiting) >= WAITING:
            self.hopeless.set()
            return
        self._waiting.append(json.dumps(message, separators=(",", ":")))
        self.wake()

    def wake(self) -> None:
        """There may be something to send."""
        self._news.set()

    async def news(self) -> list[str]:
        """Wait for something to send; every text that waits."""
        await self._news.wait()
        self._news.clear()
        taken = list(self._waiting)
        self._waiting.clear()
        return taken


class Desk:
    """All pages of a console.

    Attributes:
        hello: what a page is told first; None while the console gets ready.
        refusals: of all pages there ever were.
        pictures: camera to (number, step, JPEG).
    """

    def __init__(
        self,
        to_run: Callable[[dict[str, Any]], None],
        want: Callable[[int], None],
        now: Callable[[], float],
        numbers: Iterator[int] | None = None,
    ) -> None:
        """No page yet.

        Args:
            to_run: passes inputs and commands on.
            want: told of a camera whose next picture a page waits for.
            now: seconds of a monotonic clock.
            numbers: of pages; desks of one console share them.
        """
        self._to_run, self._want, self._now = to_run, want, now
        self.hello: dict[str, Any] | None = None
        self.refusals = Refusals()
        self.pictures: dict[int, tuple[int, int, bytes]] = {}
        self._pages: dict[str, Page] = {}
        self._numbers = itertools.count(1) if numbers is None else numbers
        self._holder: str | None = None
        self._phase, self._reason = "waiting", "the run begins"
        self._applied: dict[str, int] = {}
        self._episode: dict[str, Any] | None = None
        self._steps: deque[dict[str, Any]] = deque(maxlen=WAITING // 2)
        self._curves: Callable[[], list[dict[str, Any]]] = list
        self._picture: dict[str, Any] | None = None

    # -- pages come and go --------------------------------------------------------------------

    def come(self, first: Mapping[str, Any] | None = None) -> Page:
        """A new page; it is told ``first``, then all that there is to know of this robot."""
        page = Page(f"page-{next(self._numbers)}", 0)
        self._pages[page.name] = page
        if first is not None:
            page.tell(first)
        if self.hello is not None:
            self._welcome(page)
        return page

    def leave(self, page: Page) -> None:
        """A page is gone; if it drives, the robot stands still at once."""
        del self._pages[page.name]
        self._applied.pop(page.name, None)
        if self._holder == page.name:
            self._to_run({"kind": "lost", "page": page.name})
            self._hand(None)

    def open(self, hello: dict[str, Any], curves: Callable[[], list[dict[str, Any]]]) -> None:
        """The console is ready.

        Args:
            hello: of every page, but for its own name.
            curves: all points so far.
        """
        self.hello, self._curves = hello, curves
        for page in self._pages.values():
            self._welcome(page)

    def _welcome(self, page: Page) -> None:
        assert self.hello is not None
        page.ready = set(range(len(self.hello["cameras"])))
        page.tell({**self.hello, "you": page.name})
        page.tell(self._control(page))
        if self._picture is not None:
            page.tell(self._picture)
        if self._episode is not None:
            page.tell(self._episode)
            for step in self._steps:
                page.tell(step)
        page.tell({"type": "curves", "points": self._curves()})
        for camera in page.ready:
            if camera not in self.pictures:
                self._want(camera)

    # -- the run says ----------------------------------------------------------------------------

    def say(self, message: dict[str, Any]) -> None:
        """Tell every page; those that wait for the console to be ready are told then."""
        kind = message["type"]
        if kind == "episode":
            self._episode = message
            self._steps.clear()
        elif kind == "step":
            self._steps.append(message)
        elif kind == "picture":
            self._picture = message
        if self.hello is None:
            return
        for page in self._pages.values():
            page.tell(message)

    def announce(self, message: Mapping[str, Any]) -> None:
        """Tell every page at once, also while the console gets ready."""
        for page in self._pages.values():
            page.tell(message)

    @property
    def phase_now(self) -> str:
        """Who drives, in a word."""
        return self._phase

    def status(self) -> dict[str, Any]:
        """What the pages of other robots are told: who drives, how well it does, what it needs."""
        values = (point.get("success") for point in reversed(self._curves()))
        last = self._steps[-1] if self._steps else {}
        advised = self._phase in ("autonomous", "human") and last.get("advice")
        return {
            "phase": self._phase,
            "holder": self._holder,
            "ready": self.hello is not None,
            "success": next((value for value in values if value is not None), None),
            "coach": last["advice"]["kind"] if advised else None,
        }

    def tell(self, name: str, message: dict[str, Any]) -> None:
        """Tell one page, if it is still there."""
        if name in self._pages:
            self._pages[name].tell(message)

    def phase(self, phase: str, reason: str) -> None:
        """Who drives now, or why nobody does."""
        if (phase, reason) != (self._phase, self._reason):
            self._phase, self._reason = phase, reason
            self._say_control()

    def applied(self, name: str, sequence: int) -> None:
        """The robot does now what this input of a page says."""
        self._applied[name] = sequence
        page = self._pages.get(name)
        if page is None or sequence not in page.times:
            return
        page.tell(self._pong(page, sequence, page.times[sequence]))
        page.times = {each: at for each, at in page.times.items() if each > sequence}

    def picture(self, camera: int, number: int, step: int, data: bytes) -> None:
        """A new picture."""
        self.pictures[camera] = (number, step, data)
        for page in self._pages.values():
            page.wake()

    def frames(self, page: Page) -> list[tuple[int, int, bytes]]:
        """(camera, step, JPEG) of what ``page`` waits for; it is taken as sent."""
        frames = []
        for camera in sorted(page.ready):
            newest = self.pictures.get(camera)
            if newest is not None and newest[0] > page.shown.get(camera, -1):
                page.ready.discard(camera)
                page.shown[camera] = newest[0]
                frames.append((camera, newest[1], newest[2]))
        return frames

    # -- a page says -----------------------------------------------------------------------------

    def hear(self, page: Page, text: str | bytes) -> None:
        """Obey a message of a page, or refuse it."""
        if self.hello is None:
            return
        try:
            actions, cameras = len(self.hello["actions"]), len(self.hello["cameras"])
            self._obey(page, parse(text, actions, cameras))
        except Refused as refused:
            page.refusals.count(refused)
            self.refusals.count(refused)
            now = self._now()
            if now - page.complained >= 1.0 / REFUSED_PER_S:
                page.complained = now
                page.tell({"type": "refused", "text": refused.text})

    def _obey(self, page: Page, message: PageMessage) -> None:
        if isinstance(message, Drawn):
            page.ready.add(message.camera)
            newest = self.pictures.get(message.camera)
            if newest is not None and newest[0] > page.shown.get(message.camera, -1):
                page.wake()
            self._want(message.camera)
            return
        if isinstance(message, Ping):
            page.tell(self._pong(page, message.sequence, message.time))
            return
        if isinstance(message, Input):
            self._input(page, message)
        elif isinstance(message, Ask):
            self._control_of(page, "give commands")
            asked = {"command": message.command.value, "episode": message.episode}
            self._to_run({"kind": "command", "page": page.name, **asked})
        elif isinstance(message, TakeControl):
            self._take(page)
        elif self._holder == page.name:  # it gives control away
            self._to_run({"kind": "release", "page": page.name})
            self._hand(None)
        page.spoke = self._now()

    def _input(self, page: Page, message: Input) -> None:
        page.rising.check(message.sequence)
        assert self.hello is not None
        kinds = (each["kind"] for each in self.hello["actions"])
        axes = zip(message.axes, kinds, strict=True)
        driving = message.hold or any(value for value, kind in axes if kind == "axis")
        if driving:
            self._control_of(page, "drive")
        if self._holder == page.name:
            if driving:
                page.times[message.sequence] = message.time
                if len(page.times) > _TIMES:
                    del page.times[next(iter(page.times))]
            self._to_run(
                {
                    "kind": "input",
                    "page": page.name,
                    "sequence": message.sequence,
                    "axes": list(message.axes),
                    "hold": message.hold,
                }
            )
        page.tell(self._pong(page, message.sequence, message.time))

    def _control_of(self, page: Page, what: str) -> None:
        """Let ``page`` hold control if nobody does.

        Raises:
            Refused: another page does.
        """
        if self.hello is None or self.hello["mode"] != "live":
            raise Refused("not yours", "this run is over: there is nothing to drive")
        if self._holder is None:
            self._hand(page.name)
        elif self._holder != page.name:
            raise Refused("not yours", f"{self._holder} holds control, so this page cannot {what}")

    def _take(self, page: Page) -> None:
        holder = self._pages.get(self._holder or "")
        if holder is not None and holder is not page and self._now() - holder.spoke < IDLE_S:
            raise Refused("not yours", f"{holder.name} holds control and is at work")
        if holder is not None and holder is not page:
            self._to_run({"kind": "lost", "page": holder.name})
            self._holder = None
        self._control_of(page, "drive")

    def _hand(self, name: str | None) -> None:
        if name != self._holder:
            self._holder = name
            self._say_control()

    def _say_control(self) -> None:
        if self.hello is not None:
            for page in self._pages.values():
                page.tell(self._control(page))

    def _control(self, page: Page) -> dict[str, Any]:
        return {
            "type": "control",
            "holder": self._holder,
            "you": self._holder == page.name,
            "phase": self._phase,
            "reason": self._reason,
        }

    def _pong(self, page: Page, sequence: int, time: float) -> dict[str, Any]:
        applied = self._applied.get(page.name, -1)
        return {"type": "pong", "sequence": sequence, "time": time, "applied": applied}
