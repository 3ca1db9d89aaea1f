"""Looking into a dataset that another process may be writing: what there is, episodes by number.

No lock and no repair; no file is read twice for a list.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from silri.core.errors import DataError
from silri.data.episode import Episode
from silri.store.format.layout import DATA_PATH, ROW_PATH, file_path
from silri.store.format.lerobot import FRAME_COLUMNS, decode_episode
from silri.store.format.rows import decode_row
from silri.store.format.sealed import digest

_DRIVEN, _REWARD = FRAME_COLUMNS["is_intervention"], FRAME_COLUMNS["reward"]


@dataclass(frozen=True)
class Entry:
    """A stored episode in a list.

    Attributes:
        index: place in the dataset.
        episode_id, success, is_demo, seed, task: see :class:`~silri.data.episode.Episode`.
        steps: of it.
        human_steps: those that a person drove.
        total_reward: undiscounted sum.
    """

    index: int
    episode_id: int
    steps: int
    success: bool
    is_demo: bool
    seed: int
    task: str
    human_steps: int
    total_reward: float


class Library:
    """The stored episodes of a run, as they are now; one thread at a time.

    Attributes:
        folder: the dataset.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # By index, with what tells whether the file is still the same: a writer that opens a
        # damaged folder closes gaps.
        self._known: dict[int, tuple[int, Entry]] = {}

    def entries(self) -> list[Entry]:
        """One per stored episode, in order.

        Raises:
            DataError: a file is damaged.
        """
        entries: list[Entry] = []
        while True:
            index = len(entries)
            try:
                written = (self.folder / file_path(ROW_PATH, index)).stat().st_mtime_ns
                known = self._known.get(index)
                if known is None or known[0] != written:
                    known = self._known[index] = (written, self._read_entry(index))
            except FileNotFoundError:
                return entries
            entries.append(known[1])

    def episode(self, episode_id: int) -> Episode:
        """The episode with this number in the run.

        Raises:
            DataError: it is not stored, or damaged.
        """
        entry = next((each for each in self.entries() if each.episode_id == episode_id), None)
        if entry is None:
            raise DataError(f"there is no episode {episode_id} in {self.folder}")
        name, path = file_path(ROW_PATH, entry.index), self._data(entry.index)
        row = decode_row((self.folder / name).read_bytes(), name)
        data = path.read_bytes() if path.exists() else b""
        if digest(data) != row.data_sha256:
            raise DataError(f"{path} is missing or does not match its checksum")
        return decode_episode(data, row)

    def _read_entry(self, index: int) -> Entry:
        name = file_path(ROW_PATH, index)
        row = decode_row((self.folder / name).read_bytes(), name)
        try:
            frames = pq.read_table(self._data(index), columns=[_DRIVEN, _REWARD])
        except (pa.ArrowException, ValueError) as error:
            raise DataError(f"{self._data(index)} cannot be read: {error}") from error
        return Entry(
            index=index,
            episode_id=row.episode_id,
            steps=row.steps,
            success=row.success,
            is_demo=row.is_demo,
            seed=row.seed,
            task=row.task,
            human_steps=sum(frames[_DRIVEN].to_pylist()),
            total_reward=float(sum(frames[_REWARD].to_pylist())),
        )

    def _data(self, index: int) -> Path:
        return self.folder / file_path(DATA_PATH, index)
