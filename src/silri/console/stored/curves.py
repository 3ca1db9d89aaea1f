"""The curves of a run, point by point: on its own, with help, and what it cost the person."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from silri.console.stored.record import RunRecord
from silri.core.errors import RunFolderError
from silri.evaluation.curves import WINDOW, read_run
from silri.store.library import Entry


class _Trained(NamedTuple):
    """One training episode."""

    steps: int
    human_steps: int
    success: bool


class Curves:
    """Adds up what happens; a point after every training episode and every evaluation.

    Attributes:
        points: all so far, as pages get them.
    """

    def __init__(self, seconds_per_step: float) -> None:
        self.points: list[dict[str, Any]] = []
        self._seconds_per_step = seconds_per_step
        self._recent: deque[_Trained] = deque(maxlen=WINDOW)
        self._human_steps = 0

    @classmethod
    def of(cls, record: RunRecord, entries: Iterable[Entry]) -> Curves:
        """What a run's folder has so far, or a robot's of its own episodes.

        Raises:
            DataError: its summary is damaged.
        """
        curves = cls(record.seconds_per_step)
        for entry in entries:
            if entry.is_demo:
                curves.demonstrated(entry.human_steps)
            elif record.is_robot:
                steps = curves.env_step + entry.steps
                curves.trained(steps, entry.steps, entry.human_steps, success=entry.success)
        if record.is_robot:
            return curves
        try:
            run = read_run(record.folder)
        except RunFolderError:  # it has no curves yet
            return curves
        rows = zip(
            run.episode_steps,
            run.episode_lengths,
            run.episode_interventions,
            run.episode_successes,
            strict=True,
        )
        evaluations = list(zip(run.evaluation_steps, run.success_rates, strict=True))
        for step, length, driven, success in rows:
            while evaluations and evaluations[0][0] < step:
                curves.evaluated(*evaluations.pop(0))
            curves.trained(int(step), int(length), int(driven), success=bool(success))
        for evaluation in evaluations:
            curves.evaluated(*evaluation)
        return curves

    @property
    def env_step(self) -> int:
        """Of the last point."""
        return int(self.points[-1]["env_step"]) if self.points else 0

    def demonstrated(self, human_steps: int) -> None:
        """A demonstration was stored."""
        self._human_steps += human_steps

    def trained(
        self, env_step: int, steps: int, human_steps: int, *, success: bool
    ) -> dict[str, Any]:
        """A training episode was stored; the new point."""
        self._recent.append(_Trained(steps, human_steps, success))
        self._human_steps += human_steps
        return self._point(env_step, None)

    def evaluated(self, env_step: float, success_rate: float) -> dict[str, Any]:
        """The policy was evaluated; the new point."""
        return self._point(int(env_step), float(success_rate))

    def _point(self, env_step: int, evaluation: float | None) -> dict[str, Any]:
        recent = self._recent
        alone = sum(each.success and not each.human_steps for each in recent)
        steps = sum(each.steps for each in recent)
        point = {
            "env_step": env_step,
            "success": round(alone / len(recent), 4) if recent else None,
            "interventions": round(sum(e.human_steps for e in recent) / steps, 4)
            if steps
            else None,
            "human_seconds": round(self._human_steps * self._seconds_per_step, 1),
            "evaluation": evaluation,
        }
        self.points.append(point)
        return point
