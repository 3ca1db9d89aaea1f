"""What a dataset's files in ``meta`` say that its episodes say already: features, tasks, numbers.

All of it can be built again from the episodes, which is what opening does when it does not fit.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from silri.core.specs import EnvSpec
from silri.data.statistics import ColumnStatistics
from silri.store.format.info import encode_info
from silri.store.format.layout import INFO_PATH, STATS_PATH, TASKS_PATH
from silri.store.format.lerobot import feature_table, peek
from silri.store.format.rows import EpisodeRow, encode_tasks


class Derived:
    """Kept up to date one episode at a time.

    Attributes:
        features: as in ``info.json``.
        tasks: text by ``task_index``.
    """

    def __init__(self) -> None:
        self.features: dict[str, dict[str, Any]] = {}
        self.tasks: list[str] = []
        self._statistics = ColumnStatistics()
        self._episodes = self._frames = 0

    def add(self, row: EpisodeRow, frames: bytes | Path) -> None:
        """One more stored episode and its data file."""
        schema, _ = peek(frames)
        self.features |= feature_table(schema) if schema is not None else {}
        self._statistics.add(row.stats)
        self._episodes += 1
        self._frames = row.first_frame + row.steps
        while len(self.tasks) < row.task_index:  # a task whose only episode was set aside
            self.tasks.append(f"(unused {len(self.tasks)})")
        if row.task_index == len(self.tasks):
            self.tasks.append(row.task)

    def numbers(self, spec: EnvSpec) -> tuple[tuple[str, bytes], ...]:
        """The files that change with every episode, as (path, content)."""
        info = encode_info(
            spec,
            episodes=self._episodes,
            frames=self._frames,
            tasks=len(self.tasks),
            features=self.features,
        )
        stats = json.dumps(self._statistics.as_json(), indent=1) + "\n"
        return ((STATS_PATH, stats.encode()), (INFO_PATH, info))

    def everything(self, spec: EnvSpec) -> tuple[tuple[str, bytes], ...]:
        """All files, as (path, content)."""
        return (*self.numbers(spec), (TASKS_PATH, encode_tasks(self.tasks)))
