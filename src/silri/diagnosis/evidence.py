"""What a run has written, as rules read it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from silri.configs.run import RunConfig
from silri.core.errors import RunFolderError
from silri.data.episode import Episode
from silri.evaluation.curves import read_rows, read_summary
from silri.runtime.keeping.folder import RunFolder
from silri.store.dataset import iterate_dataset

EVALUATED = "evaluation/success_rate"
ENOUGH = 10  # episodes, or logged values, before anything is judged
GOOD = 0.9  # success of a policy that needs no advice
RECENT = 20  # episodes that are read with their frames: the last ones, and demonstrations


@dataclass(frozen=True)
class Series:
    """One logged number over environment steps.

    Attributes:
        name: as in ``metrics.jsonl``.
        steps: (N,) ascending.
        values: (N,).
    """

    name: str
    steps: np.ndarray
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    def last(self, share: float) -> np.ndarray:
        """The last ``share`` of the values, at least one if there is any."""
        return self.values[-max(1, round(share * len(self))) :]


@dataclass(frozen=True)
class Evidence:
    """A run, finished or not.

    Attributes:
        name: of the folder.
        config: of the run.
        rows: of ``metrics.jsonl``, in order.
        summary: ``summary.json``; empty if there is none yet.
        loop: ``loop.json``; empty without a rate.
        demonstrations, recent: episodes with their frames, at most :data:`RECENT` each.
        quarantined: episodes that were set aside.
    """

    name: str
    config: RunConfig
    rows: Sequence[Mapping[str, Any]]
    summary: Mapping[str, Any] = field(default_factory=dict)
    loop: Mapping[str, Any] = field(default_factory=dict)
    demonstrations: Sequence[Episode] = ()
    recent: Sequence[Episode] = ()

    def series(self, name: str) -> Series:
        """A logged number; empty if it was never logged."""
        found = [(row["step"], row[name]) for row in self.rows if name in row and "step" in row]
        table = np.asarray(found, np.float64).reshape(-1, 2)
        return Series(name, table[:, 0], table[:, 1])

    @property
    def success(self) -> float:
        """Of the last evaluation; of the last training episodes if there was none."""
        evaluated = self.series(EVALUATED)
        if len(evaluated):
            return float(evaluated.values[-1])
        trained = self.series("episode/success").values[-RECENT:]
        return float(trained.mean()) if len(trained) else 0.0

    @property
    def solved(self) -> bool:
        """The policy needs no advice."""
        return self.success >= GOOD

    @property
    def quarantined(self) -> int:
        """Episodes that were set aside."""
        return sum("quarantine/id" in row for row in self.rows)

    @property
    def steps(self) -> int:
        """Environment steps so far."""
        return int(max((row["step"] for row in self.rows if "step" in row), default=0))


def gather(folder: Path) -> Evidence:
    """Read a run folder; a run that is being written may be read, too.

    Raises:
        RunFolderError: it is no run folder, or nothing has been logged yet.
        ConfigError: its configuration does not fit this version.
        DataError: its summary or an episode is damaged.
    """
    run, config = RunFolder.open(folder)
    rows = list(read_rows(run.metrics)) if run.metrics.is_file() else []
    if not rows:
        raise RunFolderError(f"{folder} has logged nothing yet; look again after its first episode")
    demonstrations: list[Episode] = []
    recent: list[Episode] = []
    if run.episodes.is_dir():
        for episode in iterate_dataset(run.episodes):
            kept = demonstrations if episode.is_demo else recent
            kept.append(episode)
            del kept[:-RECENT]
    return Evidence(
        name=folder.resolve().name,
        config=config,
        rows=rows,
        summary=read_summary(run.summary),
        loop=json.loads(run.loop.read_text(encoding="utf-8")) if run.loop.is_file() else {},
        demonstrations=demonstrations,
        recent=recent,
    )
