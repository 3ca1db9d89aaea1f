"""Curves on disk: ``metrics.jsonl`` and TensorBoard, from the run's events."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

from tensorboardX import SummaryWriter

from silri.core.events import EpisodeFinished, EpisodeQuarantined, Evaluated, Event, LearnerUpdated
from silri.store.safety import files


class MetricsWriter:
    """Subscribes to a run; one JSON object per event, flushed at once.

    A number that JSON cannot hold (NaN, infinity) is left out of its line.

    Attributes:
        rows: lines in ``metrics.jsonl`` by now.
    """

    def __init__(
        self,
        path: Path,
        tensorboard: Path | None,
        wall_s: Callable[[], float],
        resume_step: int = -1,
        resume_rows: int = 0,
    ) -> None:
        """Open for appending.

        Args:
            path: ``metrics.jsonl``.
            tensorboard: folder for event files, or None.
            wall_s: seconds that the run has taken so far, earlier sessions included.
            resume_step: drop what TensorBoard has after this step; it will be written again.
            resume_rows: drop every later line, for the same reason.
        """
        self.rows = _keep_first(path, resume_rows) if path.exists() else 0
        self._file = path.open("a", encoding="utf-8")
        self._wall_s = wall_s
        self._board = None
        if tensorboard is not None:
            self._board = SummaryWriter(str(tensorboard), purge_step=resume_step + 1, flush_secs=30)

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
        self.rows += 1
        if self._board is not None:
            for name, value in finite.items():
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close both."""
        self._file.close()
        if self._board is not None:
            self._board.close()


def _keep_first(path: Path, rows: int) -> int:
    """Rewrite a metrics file with its first ``rows`` lines only; returns how many there were."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    kept = lines[:rows]
    if kept != lines:
        files.atomic_write(path, "".join(kept).encode())
    return len(kept)
