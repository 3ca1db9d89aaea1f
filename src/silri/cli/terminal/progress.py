"""The terminal: a live line on a terminal, one line per evaluation elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console as RichConsole
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from silri.configs.run import RunConfig
from silri.core.events import (
    EpisodeDiscarded,
    EpisodeFinished,
    EpisodeQuarantined,
    Evaluated,
    Event,
    LearnerUpdated,
    LearningAdvanced,
    Notice,
    StepTaken,
)
from silri.core.protocols import Env
from silri.evaluation.summary import NOT_JUDGED
from silri.intervention.coach import Coach, Kind
from silri.intervention.operators import SimulatedConfig

WINDOW = 10  # episodes in the running rates
BESIDE = ("none", "web")  # operators whom nobody advises here
WORDS = {
    Kind.TAKE_OVER: "it is stuck",
    Kind.LET_GO: "let go",
    Kind.START_OVER: "start over",
    Kind.STOP: "you can stop",
    Kind.DISAGREE: "you differ here",
}


class Console:
    """Subscribes to a run and shows it; used as a context manager."""

    def __init__(
        self, config: RunConfig, folder: Path, notice: str = "", env: Env | None = None
    ) -> None:
        """Show the run in ``folder``.

        Args:
            config: of the run.
            folder: of the run.
            notice: a line that its operator has to say first.
            env: if it is in this process, it may judge episodes.
        """
        self._config, self._folder, self._notice = config, folder, notice
        self._env, self._judged = env, True
        self._console = RichConsole(soft_wrap=True, highlight=False, stderr=False)
        self._live = self._console.is_terminal
        self._recent: deque[tuple[float, float, float, float]] = deque(maxlen=WINDOW)
        self._lambda = float("nan")
        # Simulated people follow a coach of their own, and a page shows its own.
        mine = isinstance(config.operator, SimulatedConfig) or config.operator_name in BESIDE
        self._coach = None if mine else Coach()
        self._advice = ""
        self._last_step = -1
        self._idle = True  # so far: a run that was done before it was resumed
        self._shown_at = 0.0
        self._progress = Progress(
            TextColumn("{task.completed:>6.0f}/{task.total:.0f} {task.fields[unit]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            TimeRemainingColumn(compact=True),
            console=self._console,
            disable=not self._live,
            transient=True,
        )
        self._task = self._progress.add_task("starting", total=max(config.steps, 1), unit="steps")
        self._stage: TaskID | None = None

    def __enter__(self) -> Console:
        run = self._config
        self._console.print(
            f"[bold]{run.agent_name}[/bold] ({run.preset}) on {run.env_name}, seed {run.seed}, "
            f"{run.steps} steps -> {self._folder}"
        )
        self._console.print(run.introduce_operator())
        self._console.print(run.describe_success())
        if self._notice:
            self._console.print(self._notice, markup=False)
            sys.stdout.flush()
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
        self._idle &= not isinstance(event, StepTaken | LearningAdvanced | Evaluated)
        if isinstance(event, StepTaken):
            self._lambda = event.diagnostics.get("lambda", self._lambda)
            self._advise(event)
            self._advance(event.env_step)
        elif isinstance(event, EpisodeFinished):
            stats = event.stats
            names = ("success", "intervention_steps", "length", "return")
            success, driven, length, total = (stats[name] for name in names)
            self._recent.append((success, driven, length, total))
            if self._coach is not None:
                self._coach.end_episode(
                    success=success > 0, length=int(length), human_steps=int(driven)
                )
            self._advance(event.env_step)
        elif isinstance(event, LearningAdvanced):
            self._advance_stage(event)
        elif isinstance(event, Evaluated):
            values = event.metrics
            if self._judged and "judged" in values:
                self._print(f"[yellow]{NOT_JUDGED}[/yellow]")
            self._judged = "judged" not in values
            shown = f"success {values['success_rate']:.2f} "
            shown += f"[{values['ci_low']:.2f}, {values['ci_high']:.2f}]"
            if not self._judged:
                shown = f"mean return {values['mean_return']:.4g}"
            self._print(f"step {event.env_step:>6}  {shown}  {self._rates()}")
        elif isinstance(event, EpisodeQuarantined):
            self._print(
                f"[yellow]episode {event.episode_id} is in quarantine[/yellow]: {event.reason}"
            )
        elif isinstance(event, EpisodeDiscarded):
            self._print(f"[yellow]episode {event.episode_id} was discarded[/yellow]")
        elif isinstance(event, Notice):
            self._print(f"[yellow]{event.text}[/yellow]")
        elif isinstance(event, LearnerUpdated) and event.env_step == 0:  # of an offline stage
            self._print("  ".join(f"{k} {v:.3g}" for k, v in event.metrics.items()))

    def interrupted(self) -> None:
        """The last words of a run that was asked to stop."""
        self._print(f"stopped; everything is saved. Go on: silri train --resume {self._folder}")

    def finished(self, summary: dict[str, Any], curve: Path) -> None:
        """The last words of a run that is done."""
        success = "not evaluated"
        if not summary["judged"]:
            success = f"[bold]mean return {summary['mean_return']:.4g}[/bold]"
        elif summary["success_rate"] is not None:
            low, high = summary["success_ci95"]
            success = f"[bold]success_rate {summary['success_rate']:.2f}[/bold] "
            success += f"[{low:.2f}, {high:.2f}]"
        self._print(
            f"{success} after {summary['env_steps']} steps, "
            f"intervention rate {summary['intervention_rate']:.2f}, "
            f"90 % after {_steps(summary['steps_to_90'])}, {summary['wall_s']:.0f} s"
        )
        self._print(f"figure: {curve}   summary: {self._folder / 'summary.json'}")
        if self._idle:
            self._print(
                f"it was done already: nothing was learned. silri train --resume {self._folder} "
                f"--steps {max(1, round(summary['env_steps'] / 500)) * 1000} goes on"
            )

    def _rates(self) -> str:
        parts = []
        if self._recent:
            driven = sum(row[1] for row in self._recent) / sum(row[2] for row in self._recent)
            parts.append(f"intervention {driven:.2f}")
        if self._lambda == self._lambda:
            parts.append(f"lambda {self._lambda:.2f}")
        return "  ".join(parts)

    def _advise(self, event: StepTaken) -> None:
        """What the coach says now: a person at a device has no page that shows it."""
        if self._coach is None:
            return
        step, estimate = event.transition, event.diagnostics.get("q_policy", float("nan"))
        if step.step == 0:
            self._coach.begin_episode()
        advice = self._coach.advise(step.step, estimate, driven=step.is_intervention)
        self._advice = (
            "" if advice is None else f"  [bold]{WORDS[advice.kind]}[/bold]: {advice.why}"
        )

    def _advance(self, step: int) -> None:
        now = time.monotonic()
        if not self._live or step == self._last_step or now - self._shown_at < 0.1:
            return
        self._last_step, self._shown_at = step, now
        text = f"{self._success()} (with help)  {self._rates()}{self._advice}"
        self._progress.update(self._task, completed=step, description=text)

    def _advance_stage(self, event: LearningAdvanced) -> None:
        """A bar of its own while a stage learns before the first step."""
        if self._stage is None:
            text = f"learning: {event.stage}"
            self._stage = self._progress.add_task(text, total=event.updates, unit="updates")
        self._progress.update(self._stage, completed=event.done)
        if event.done >= event.updates:
            self._progress.remove_task(self._stage)
            self._stage = None

    def _success(self) -> str:
        """Success of the last episodes, or their return where nothing judges them."""
        count = max(len(self._recent), 1)
        if not (self._judged and getattr(self._env, "judges", True)):
            return f"return {sum(row[3] for row in self._recent) / count:.4g}"
        return f"success {sum(row[0] for row in self._recent) / count:.2f}"

    def _print(self, text: str) -> None:
        self._console.print(text)


def _steps(count: int | None) -> str:
    return "no step yet" if count is None else f"{count:,} steps"
