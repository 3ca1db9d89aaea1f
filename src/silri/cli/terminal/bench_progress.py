"""The terminal of ``silri bench``: a live line on a terminal, one line per cell elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from rich.console import Console as RichConsole
from rich.progress import BarColumn, Progress, TextColumn

from silri.bench.run.plan import Job, State, read_summary, seconds_left, stages_left
from silri.bench.run.runner import Outcome
from silri.core.errors import DataError

REFRESH_S = 2.0  # summaries of running cells are read so often
SHOWN = 3  # running cells that are named


class Display:
    """Hears of a suite's cells and shows them; used as a context manager."""

    def __init__(
        self, name: str, jobs: Sequence[Job], slots: int, *, disturbances: bool = False
    ) -> None:
        self._name, self._slots, self._disturbances = name, slots, disturbances
        self._jobs = {job.cell.name: job for job in jobs}
        self._running: dict[str, str] = {}
        self._console = RichConsole(soft_wrap=True, highlight=False)
        self._live = self._console.is_terminal
        self._shown_at = 0.0
        self._progress = Progress(
            TextColumn("{task.completed:.0f}/{task.total:.0f} cells"),
            BarColumn(bar_width=24),
            TextColumn("{task.description}", markup=False),
            console=self._console,
            disable=not self._live,
            transient=True,
        )
        self._task = self._progress.add_task("starting", total=len(jobs), completed=self._done())

    def __enter__(self) -> Display:
        left, measured = self._left()
        about = f"about {duration(left)}" + ("" if measured else " (a guess)")
        self._console.print(
            f"[bold]{self._name}[/bold]: {self._done()} of {len(self._jobs)} cells are done, "
            f"{self._slots} at a time, {about} to go"
        )
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()
        self._console.print(f"{self._done()} of {len(self._jobs)} cells are done")
        sys.stdout.flush()

    def started(self, job: Job, stage: str) -> None:
        """Name it."""
        self._running[job.cell.name] = stage
        if not self._live:
            how = "resumes" if stage == "train" and job.state is State.RESUME else "starts"
            self._print(f"{how}: {job.cell.name} ({stage})")

    def ended(self, outcome: Outcome) -> None:
        """Say how it went."""
        name = outcome.job.cell.name
        self._running.pop(name, None)
        self._jobs[name] = outcome.job
        if outcome.elsewhere:
            self._print(f"left alone: {name}: another process runs it")
            return
        if outcome.problem:
            self._print(f"failed: {name} ({outcome.stage}): {outcome.problem}")
            return
        if outcome.job.state is not State.DONE:
            self._print(f"saved: {name}")
            return
        summary = read_summary(outcome.job.folder.summary)
        left, _ = self._left()
        self._print(
            f"done: {name}  {_success(summary)}  "
            f"steps_to_90 {summary.get('steps_to_90')}  "
            f"[{self._done()}/{len(self._jobs)}, about {duration(left)} to go]"
        )

    def waiting(self) -> None:
        """Refresh the live line."""
        if not self._live or time.monotonic() - self._shown_at < REFRESH_S:
            return
        self._shown_at = time.monotonic()
        for name in self._running:
            # The summary is replaced at every evaluation; a damaged one is reported at the end.
            try:
                self._jobs[name] = self._jobs[name].look_again()
            except DataError:
                continue
        left, _ = self._left()
        names = list(self._running)
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        text = f"{', '.join(names[:SHOWN])}{more}  about {duration(left)} to go"
        self._progress.update(self._task, completed=self._done(), description=text)

    def _left(self) -> tuple[float, bool]:
        jobs = list(self._jobs.values())
        return seconds_left(jobs, self._slots, disturbances=self._disturbances)

    def _done(self) -> int:
        return sum(
            not stages_left(job, disturbances=self._disturbances) for job in self._jobs.values()
        )

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False)
        sys.stdout.flush()


def duration(seconds: float) -> str:
    """E.g. ``4 min`` or ``3 h 20 min``."""
    minutes = max(round(seconds / 60), 1 if seconds > 0 else 0)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


def _success(summary: Mapping[str, Any]) -> str:
    final = summary.get("final_success")
    return "not evaluated" if final is None else f"success {final:.2f}"
