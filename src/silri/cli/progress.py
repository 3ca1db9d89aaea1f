"""The terminal: a live line on a terminal, one line per evaluation elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console as RichConsole
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from silri.configs.run import RunConfig
from silri.core.events import (
    EpisodeFinished,
    EpisodeQuarantined,
    Evaluated,
    Event,
    LearnerUpdated,
    Notice,
    StepTaken,
)

WINDOW = 10  # episodes in the running rates


class Console:
    """Subscribes to a run and shows it; used as a context manager."""

    def __init__(self, config: RunConfig, folder: Path) -> None:
        self._config, self._folder = config, folder
        self._console = RichConsole(soft_wrap=True, highlight=False, stderr=False)
        self._live = self._console.is_terminal
        self._recent: deque[tuple[float, float, float]] = deque(maxlen=WINDOW)
        self._lambda = float("nan")
        self._last_step = -1
        self._shown_at = 0.0
        self._progress = Progress(
            TextColumn("{task.completed:>6.0f}/{task.total:.0f} steps"),
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            TimeRemainingColumn(compact=True),
            console=self._console,
            disable=not self._live,
            transient=True,
        )
        self._task = self._progress.add_task("starting", total=max(config.steps, 1))

    def __enter__(self) -> Console:
        run = self._config
        self._console.print(
            f"[bold]{run.agent_name}[/bold] ({run.preset}) on {run.env.name}, seed {run.seed}, "
            f"{run.steps} steps -> {self._folder}"
        )
        self._console.print(run.operator.describe())
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()
        sys.stdout.flush()

    def on_event(self, event: Event) -> None:
        """Show what a person wants to see of it."""
        if isinstance(event, StepTaken):
            self._lambda = event.diagnostics.get("lambda", self._lambda)
            self._advance(event.env_step)
        elif isinstance(event, EpisodeFinished):
            stats = event.stats
            self._recent.append((stats["success"], stats["intervention_steps"], stats["length"]))
            self._advance(event.env_step)
        elif isinstance(event, Evaluated):
            values = event.metrics
            self._print(
                f"step {event.env_step:>6}  success {values['success_rate']:.2f} "
                f"[{values['ci_low']:.2f}, {values['ci_high']:.2f}]  {self._rates()}"
            )
        elif isinstance(event, EpisodeQuarantined):
            self._print(
                f"[yellow]episode {event.episode_id} is in quarantine[/yellow]: {event.reason}"
            )
        elif isinstance(event, Notice):
            self._print(f"[yellow]{event.text}[/yellow]")
        elif isinstance(event, LearnerUpdated) and "pretrain" in next(iter(event.metrics), ""):
            self._print("  ".join(f"{k} {v:.3g}" for k, v in event.metrics.items()))

    def interrupted(self) -> None:
        """The last words of a run that was asked to stop."""
        self._print(f"stopped; everything is saved. Go on: silri train --resume {self._folder}")

    def finished(self, summary: dict[str, Any], curve: Path) -> None:
        """The last words of a run that is done."""
        low, high = summary["success_ci95"]
        self._print(
            f"[bold]success_rate {summary['success_rate']:.2f}[/bold] [{low:.2f}, {high:.2f}] "
            f"after {summary['env_steps']} steps, "
            f"intervention rate {summary['intervention_rate']:.2f}, "
            f"steps_to_90 {summary['steps_to_90']}, {summary['wall_s']:.0f} s"
        )
        self._print(f"figure: {curve}   summary: {self._folder / 'summary.json'}")

    def _rates(self) -> str:
        parts = []
        if self._recent:
            driven = sum(row[1] for row in self._recent) / sum(row[2] for row in self._recent)
            parts.append(f"intervention {driven:.2f}")
        if self._lambda == self._lambda:
            parts.append(f"lambda {self._lambda:.2f}")
        return "  ".join(parts)

    def _advance(self, step: int) -> None:
        now = time.monotonic()
        if not self._live or step == self._last_step or now - self._shown_at < 0.1:
            return
        self._last_step, self._shown_at = step, now
        success = sum(row[0] for row in self._recent) / max(len(self._recent), 1)
        text = f"success {success:.2f} (with help)  {self._rates()}"
        self._progress.update(self._task, completed=step, description=text)

    def _print(self, text: str) -> None:
        self._console.print(text)
