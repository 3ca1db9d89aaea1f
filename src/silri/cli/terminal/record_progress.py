"""What a person at a device sees while recording: one live line, and a line per attempt."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from silri.core.events import DemonstrationStep, EpisodeEnded, Event, Notice
from silri.core.protocols import Directed, Operator, OperatorView

REFRESH_HZ = 8
OPPOSITE = {
    "forward": "back", "back": "forward", "left": "right", "right": "left", "up": "down",
    "down": "up",
}  # fmt: skip


class RecordProgress:
    """Used as a context manager around a recording."""

    def __init__(self, env: object, operator: Operator, wanted: int, *, live: bool) -> None:
        """Show nothing yet.

        Args:
            env: says which way its directions are, if it does.
            operator: a device shows what it saw last.
            wanted: demonstrations in the end.
            live: a person drives: there is a live line.
        """
        self._console = Console(soft_wrap=True, highlight=False)
        self._directions = env.directions[:3] if isinstance(env, Directed) else ()
        self._operator, self._wanted = operator, wanted
        self._number, self._steps, self._began = 0, 0, 0.0
        self._live = (
            Live(
                get_renderable=self._line,
                console=self._console,
                refresh_per_second=REFRESH_HZ,
                transient=True,
            )
            if live and self._console.is_terminal
            else None
        )

    def __enter__(self) -> RecordProgress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, markup=False)

    def have(self, number: int) -> None:
        """There are ``number`` demonstrations now."""
        self._number = number

    def on_event(self, event: Event) -> None:
        """Subscribes to the recording; what was kept is told by who keeps it."""
        if isinstance(event, Notice):
            self.show(event.text)
        elif isinstance(event, DemonstrationStep):
            if event.transition.step == 0:
                self._began = time.monotonic()
            self._steps = event.transition.step + 1
        elif isinstance(event, EpisodeEnded):
            self._attempted(event)

    def _attempted(self, event: EpisodeEnded) -> None:
        steps, self._steps = self._steps, 0
        if event.success or self._live is None:
            return
        what = {
            "abandoned": "the same layout comes again",
            "discarded": "discarded",
        }.get(event.end, "no success: not kept, another layout comes")
        self.show(f"  attempt of {steps} steps: {what}")

    def kept(self, number: int, steps: int) -> None:
        """A demonstration is stored."""
        took = f", {time.monotonic() - self._began:.1f} s" if self._began else ""
        self.show(f"demonstration {number} of {self._wanted}: {steps} steps{took}")
        self.have(number)

    def _line(self) -> Text:
        view: OperatorView | None = getattr(self._operator, "view", None)
        driving = getattr(self._operator, "engaged", False) or getattr(
            self._operator, "taken", False
        )
        who = "you drive" if driving else "waiting for you"
        parts = [f"demonstration {self._number + 1} of {self._wanted}", who, f"step {self._steps}"]
        if view is not None and view.privileged is not None and self._directions:
            known = view.privileged
            parts.append("object " + self._way(known.object - known.hand))
            parts.append("goal " + self._way(known.goal - known.hand))
        return Text(" · ".join(parts), no_wrap=True, overflow="ellipsis")

    def _way(self, difference: Any) -> str:
        """Centimetres from the hand in the words of the keys."""
        words = []
        for direction, metres in zip(self._directions, difference, strict=False):
            centimetres = round(100 * float(metres))
            if centimetres:
                word = direction if centimetres > 0 else OPPOSITE[direction]
                words.append(f"{abs(centimetres)} {word}")
        return " ".join(words) + " cm" if words else "here"
