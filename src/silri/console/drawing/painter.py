"""The live pictures: a thread that follows the run in the mirror and draws what pages ask for.

What nobody looks at is not drawn. What was overtaken is not drawn either: there is no backlog.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from silri.console.drawing.mirror import Mirror, step_back
from silri.console.drawing.pictures import jpeg
from silri.core.errors import SilriError

BEHIND = 5_000  # steps that may wait; a mirror that far behind begins anew with the next episode
_LOG = logging.getLogger(__name__)

Observation = Mapping[str, np.ndarray]
# Camera, number that rises with every picture of it, step, JPEG.
Publish = Callable[[int, int, int, bytes], None]
# "exact", "approximate" or "none", and why.
Say = Callable[[str, str], None]


class Painter:
    """Call :meth:`begin` and :meth:`step` for what happens, :meth:`want` for what is looked at."""

    def __init__(
        self,
        open_mirror: Callable[[], Mirror] | None,
        cameras: Sequence[str],
        publish: Publish,
        say: Say,
        ready: Callable[[Mirror | None], None],
    ) -> None:
        """Start the thread.

        Args:
            open_mirror: opens another instance of the environment, which may take seconds; None
                if there is to be none.
            cameras: keys of the observation that are pictures. Camera 0 is the mirror's, if there
                is ``open_mirror``.
            publish: given every picture, on the thread.
            say: told whether the mirror's pictures are the truth, likewise.
            ready: told when the mirror is open, or cannot be opened (None).
        """
        self._publish, self._say, self._ready = publish, say, ready
        self._open_mirror, self._keys = open_mirror, list(cameras)
        self._mirror: Mirror | None = None
        self._first = 0 if open_mirror is None else 1
        count = self._first + len(self._keys)
        self._change = threading.Condition()
        self._happened: deque[tuple[int | None, int, np.ndarray | None, Observation]] = deque()
        self._wanted: set[int] = set()
        self._number = self._shown = 0  # of the state, and the newest step of it
        self._drawn = [0] * count  # state of the newest picture
        self._seen: Observation = {}
        self._said = ("", "")
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="console-painter", daemon=True)
        self._thread.start()

    def begin(self, seed: int, observation: Observation) -> None:
        """An episode begins."""
        self._happen((seed, 0, None, observation))

    def step(self, steps: int, action: np.ndarray, observation: Observation) -> None:
        """The run has executed ``action``, its ``steps``-th, and sees ``observation``."""
        self._happen((None, steps, action, observation))

    def want(self, camera: int) -> None:
        """Somebody has seen the newest picture of a camera and waits for the next."""
        with self._change:
            self._wanted.add(camera)
            self._change.notify()

    def close(self) -> None:
        """End the thread; closes the mirror."""
        with self._change:
            self._closing = True
            self._change.notify()
        self._thread.join()

    def _happen(self, what: tuple[int | None, int, np.ndarray | None, Observation]) -> None:
        with self._change:
            if len(self._happened) >= BEHIND:
                self._happened.clear()
            self._happened.append(what)
            self._change.notify()

    def _run(self) -> None:
        step_back()
        if self._open_mirror is not None:
            try:
                self._mirror = self._open_mirror()
                self._mirror.reset(0)
                self._mirror.picture()  # the first one opens a context, and may fail
                self._mirror.steps = None
            except SilriError as error:
                self._blind(str(error))
        self._ready(self._mirror)
        try:
            while self._work():
                pass
        finally:
            if self._mirror is not None:
                self._mirror.close()

    def _work(self) -> bool:
        with self._change:
            while not self._closing and not self._happened and not self._due():
                self._change.wait()
            if self._closing:
                return False
            happened, due = list(self._happened), []
            self._happened.clear()
        for each in happened:
            self._follow(*each)
        with self._change:
            due = self._due()
            self._wanted -= set(due)
        for camera in due:
            self._draw(camera)
        return True

    def _due(self) -> list[int]:
        """Cameras whose newest picture is old, and that somebody looks at."""
        return [
            camera
            for camera in self._wanted
            if camera < len(self._drawn) and self._drawn[camera] < self._number
        ]

    def _follow(
        self, seed: int | None, steps: int, action: np.ndarray | None, observation: Observation
    ) -> None:
        self._number += 1
        self._shown, self._seen = steps, observation
        mirror = self._mirror
        if mirror is None:
            return
        try:
            if seed is not None:
                mirror.reset(seed, observation)
            elif mirror.steps is not None and action is not None:
                if mirror.steps + 1 != steps:  # a step was dropped on the way
                    mirror.steps = None
                else:
                    mirror.step(action, observation)
        except SilriError as error:
            _LOG.warning("the mirror lost the run: %s", error)
        if mirror.steps is None:
            self._tell("approximate", "the picture has lost the run until the next episode")
        elif mirror.exact:
            self._tell("exact", "")
        else:
            self._tell("approximate", "the picture and the run do not see the same")

    def _draw(self, camera: int) -> None:
        number, steps = self._number, self._shown
        if camera >= self._first:
            image: np.ndarray | None = self._seen.get(self._keys[camera - self._first])
        elif self._mirror is None:
            image = None
        else:
            try:
                image = self._mirror.picture()
            except SilriError as error:
                self._blind(str(error))
                image = None
        self._drawn[camera] = number
        if image is not None:
            self._publish(camera, number, steps, jpeg(image))

    def _blind(self, why: str) -> None:
        """There is no scene to draw, for good."""
        if self._mirror is not None:
            self._mirror.close()
            self._mirror = None
        _LOG.warning("no scene: %s", why)
        self._tell("none", why)

    def _tell(self, picture: str, text: str) -> None:
        if (picture, text) != self._said:
            self._said = (picture, text)
            self._say(picture, text)
