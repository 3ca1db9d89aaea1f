"""A plain LeRobotDataset v3 of what was recorded: several episodes per file, nothing of ours.

What every LeRobot tool knows is kept: observations, action, ``next.*``, the task, and who acted
(``intervention`` and ``complementary_info.is_intervention``). What has no place there is left
behind: final observations, proposed and human actions, diagnostics, quarantine.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from silri.core.errors import DataError, UsageError
from silri.data.statistics import ColumnStatistics
from silri.store.format.images import IMAGE_TYPE
from silri.store.format.info import encode_info, recorded_elsewhere
from silri.store.format.layout import (
    DATA_PATH,
    FILES_PER_CHUNK,
    INFO_PATH,
    ROW_PATH,
    STATS_PATH,
    TASKS_PATH,
    VIDEO_PATH,
    file_path,
    parquet_bytes,
)
from silri.store.format.lerobot import decode_episode, feature_table
from silri.store.format.numbers import table_statistics
from silri.store.format.rows import encode_tasks
from silri.store.safety import files
from silri.store.safety.recovery import Found, scan
from silri.store.safety.space import explained
from silri.store.tools.merge import refuse_existing
from silri.store.tools.survey import Place, stored_spec
from silri.store.tools.video import VideoWriter

_FILE_SIZE = 100_000_000  # LeRobot begins a new file there
_PENALTY = "complementary_info.grasp_penalty"
_RENAMED = {_PENALTY: "complementary_info.discrete_penalty"}  # LeRobot's name for it
_KEPT = (
    *("action", "next.reward", "next.done", "next.truncated", "next.success", "intervention"),
    *("complementary_info.is_intervention", _PENALTY, "timestamp", "frame_index"),
)

SELECTIONS: Mapping[str, Callable[[Found, pa.Table], bool]] = {
    "all": lambda found, table: True,
    "success": lambda found, table: found.row is not None and found.row.success,
    "demos": lambda found, table: found.row is not None and found.row.is_demo,
    "interventions": lambda found, table: (
        found.row is not None
        and not found.row.is_demo
        and bool(np.any(table["intervention"].to_numpy()))
    ),
}


def export(place: Place, out: Path, *, video: bool = False, only: str = "all") -> int:
    """Write the dataset.

    Args:
        place: a dataset that silri recorded.
        out: does not exist yet; it appears when it is whole.
        video: cameras as mp4, which loses details; else as PNG, which loses nothing.
        only: which episodes; a key of :data:`SELECTIONS`.

    Returns:
        How many episodes it has.

    Raises:
        UsageError: ``out`` exists.
        DataError: an episode is damaged, none is selected, another program wrote the dataset, or
            the disk is full.
        MissingExtraError: ``video`` needs PyAV.
    """
    refuse_existing(out)
    if recorded_elsewhere(place.episodes):
        raise UsageError(f"{place.episodes} is a plain LeRobotDataset already; copy it as it is")
    beside = files.temporary(out)
    if beside.exists():  # of an export that was interrupted
        files.remove_tree(beside)
    with explained(out, "the exported dataset"):
        with _Writer(beside, place, video) as writer:
            for found in scan(place.episodes):
                if found.problem is not None or found.row is None or found.data is None:
                    raise DataError(
                        f"episode {found.index} of {place.episodes}: {found.problem}; "
                        "'silri data repair' sets it aside"
                    )
                table = pq.read_table(pa.BufferReader(found.data), use_threads=False)
                if SELECTIONS[only](found, table):
                    writer.add(found, table)
            if not writer.rows:
                raise DataError(f"{place.episodes} has no episode to export (--only {only})")
            writer.finish()
        files.rename(beside, out)
    return len(writer.rows)


def _renamed(statistic: str) -> str:
    """``column/statistic`` with the column's name in the exported dataset."""
    column, _, name = statistic.rpartition("/")
    return f"{_RENAMED.get(column, column)}/{name}"


class _Writer:
    """One dataset that grows.

    Attributes:
        rows: of ``meta/episodes``.
    """

    def __init__(self, folder: Path, place: Place, video: bool) -> None:
        self.rows: list[dict[str, Any]] = []
        self._folder = folder
        self._place = place
        self._spec, _ = stored_spec(place)
        self._statistics = ColumnStatistics()
        self._tasks: list[str] = []
        self._features: dict[str, dict[str, Any]] = {}
        self._pending: list[pa.Table] = []
        self._size = self._file = self._frames = 0
        self._stack = contextlib.ExitStack()
        self._videos: dict[str, VideoWriter] = {}
        for key, array in self._spec.observation.items():
            if video and array.dtype == "uint8":
                name = f"observation.{key}"
                path = folder / VIDEO_PATH.format(video_key=name, chunk_index=0, file_index=0)
                files.make_dir(path.parent)
                writer = VideoWriter(path, self._spec.control_hz)
                self._videos[name] = self._stack.enter_context(writer)

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def add(self, found: Found, table: pa.Table) -> None:
        """One more episode."""
        row = found.row
        if row is None or found.data is None:
            return
        steps, index = row.steps, len(self.rows)
        if row.task not in self._tasks:
            self._tasks.append(row.task)
        numbers = {
            "episode_index": np.full(steps, index),
            "index": np.arange(steps) + self._frames,
            "task_index": np.full(steps, self._tasks.index(row.task)),
        }
        kept = [
            name
            for name in table.column_names
            if (name in _KEPT or name.startswith("observation.")) and name not in self._videos
        ]
        plain = table.select(kept)
        for name, values in numbers.items():
            plain = plain.append_column(name, pa.array(values.astype(np.int64)))
        self._features |= feature_table(plain.schema)
        fields = [
            pa.field(_RENAMED.get(field.name, field.name), field.type) for field in plain.schema
        ]
        self._pending.append(pa.Table.from_arrays(plain.columns, schema=pa.schema(fields)))
        self._size += len(found.data)
        if self._videos:
            episode = decode_episode(found.data, row)
            for name, video in self._videos.items():
                for pixels in episode.observations[name.removeprefix("observation.")][:-1]:
                    video.add(pixels)
        described = {field.name for field in plain.schema if field.type == IMAGE_TYPE}
        described |= set(self._videos)
        stats = {
            _renamed(name): values
            for name, values in (
                *table_statistics(plain).items(),
                *((k, v) for k, v in row.stats.items() if k.rpartition("/")[0] in described),
            )
        }
        self._statistics.add(stats)
        chunk, file = divmod(self._file, FILES_PER_CHUNK)
        record: dict[str, Any] = {
            "episode_index": index,
            "tasks": [row.task],
            "length": steps,
            "data/chunk_index": chunk,
            "data/file_index": file,
            "dataset_from_index": self._frames,
            "dataset_to_index": self._frames + steps,
        }
        for name in self._videos:
            hz = self._spec.control_hz
            record |= {
                f"videos/{name}/chunk_index": 0,
                f"videos/{name}/file_index": 0,
                f"videos/{name}/from_timestamp": self._frames / hz,
                f"videos/{name}/to_timestamp": (self._frames + steps) / hz,
            }
        record |= {f"stats/{name}": list(values) for name, values in stats.items()}
        self.rows.append(record | {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0})
        self._frames += steps
        if self._size >= _FILE_SIZE:
            self._write_pending()

    def finish(self) -> None:
        """What is left, and ``meta``."""
        self._write_pending()
        self._stack.close()
        for name, video in self._videos.items():
            height, width = video.info["video.height"], video.info["video.width"]
            self._features[name] = {
                "dtype": "video",
                "shape": [height, width, 3],
                "names": ["height", "width", "channels"],
                "info": video.info,
            }
        self._features = {
            _RENAMED.get(name, name): feature for name, feature in self._features.items()
        }
        info = json.loads(
            encode_info(
                self._spec,
                episodes=len(self.rows),
                frames=self._frames,
                tasks=len(self._tasks),
                features=self._features,
            )
        )
        del info["silri_format"], info["sha256"]
        info["video_path"] = VIDEO_PATH if self._videos else None
        rows = {name: [row[name] for row in self.rows] for name in self.rows[0]}
        stats = json.dumps(self._statistics.as_json(), indent=1) + "\n"
        self._write(file_path(ROW_PATH, 0), parquet_bytes(pa.Table.from_pydict(rows)))
        self._write(TASKS_PATH, encode_tasks(self._tasks))
        self._write(STATS_PATH, stats.encode())
        self._write(INFO_PATH, (json.dumps(info, indent=1) + "\n").encode())

    def _write_pending(self) -> None:
        if self._pending:
            table = pa.concat_tables(self._pending)
            self._write(file_path(DATA_PATH, self._file), parquet_bytes(table))
            self._pending, self._size = [], 0
            self._file += 1

    def _write(self, name: str, content: bytes) -> None:
        path = self._folder / name
        files.make_dir(path.parent)
        files.write_file(path, content)
