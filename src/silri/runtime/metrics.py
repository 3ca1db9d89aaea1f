"""Curves on disk: ``metrics.jsonl`` and TensorBoard, from the run's events."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

from tensorboardX import SummaryWriter

from silri.core.events import EpisodeFinished, EpisodeQuarantined, Evaluated, Event, LearnerUpdated
from silri.data import files


class MetricsWriter:
    """Subscribes to a run; one JSON object per event, flushed at once.

    A number that JSON cannot hold (NaN, infinity) is left out of its line.
    """

    def __init__(
        self,
        path: Path,
        tensorboard: Path | None,
        wall_s: Callable[[], float],
        resume_step: int | None,
    ) -> None:
        """Open for appending.

        Args:
            path: ``metrics.jsonl``.
            tensorboard: folder for event files, or None.
            wall_s: seconds that the run has taken so far, earlier sessions included.
            resume_step: drop lines after this step: they will be written again.
        """
        if resume_step is not None and path.exists():
            _keep_until(path, resume_step)
        self._file = path.open("a", encoding="utf-8")
        self._wall_s = wall_s
        self._board = None
        if tensorboard is not None:
            purge = None if resume_step is None else resume_step + 1
            self._board = SummaryWriter(str(tensorboard), purge_step=purge, flush_secs=30)

    def on_event(self, event: Event) -> None:
        """Write what belongs in a curve."""
        if isinstance(event, EpisodeFinished):
            self._write(event.env_step, "episode", {**event.stats, "id": event.episode_id})
        elif isinstance(event, LearnerUpdated):
            self._write(event.env_step, "", event.metrics)
        elif isinstance(event, Evaluated):
            self._write(event.env_step, "evaluation", event.metrics)
        elif isinstance(event, EpisodeQuarantined):
            self._write(event.env_step, "quarantine", {"id": event.episode_id})

    def _write(self, step: int, group: str, values: Mapping[str, float]) -> None:
        prefix = f"{group}/" if group else ""
        finite = {prefix + k: float(v) for k, v in values.items() if math.isfinite(float(v))}
        line = {"step": step, "wall_s": round(self._wall_s(), 3), **finite}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in finite.items():
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close both."""
        self._file.close()
        if self._board is not None:
            self._board.close()


def _keep_until(path: Path, step: int) -> None:
    """Rewrite a metrics file without what came after ``step``, or a torn last line."""
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue  # torn by a crash: the event is after the checkpoint and comes again
        if row.get("step", 0) <= step:
            kept.append(line + "\n")
    files.atomic_write(path, "".join(kept).encode())
