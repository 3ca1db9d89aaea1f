"""Reading episodes as another process stores them: no lock, no repair, every checksum checked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from silri.core.errors import DataError
from silri.data.episode import Episode
from silri.data.layout import DATA_PATH, ROW_PATH, file_path
from silri.data.lerobot import decode_episode
from silri.data.rows import EpisodeRow, decode_row
from silri.data.sealed import digest


class Follower:
    """Each stored episode once, in the order of its number in the run.

    Attributes:
        folder: the dataset; its single writer is another process.
        last_id: of the newest episode that was returned; -1 before.
    """

    def __init__(self, folder: Path, last_id: int = -1) -> None:
        self.folder = folder
        self.last_id = last_id
        self._next = 0

    def new(self) -> Iterator[Episode]:
        """What was stored since the last call.

        A writer that opens a damaged folder closes gaps, so that an episode may move to a smaller
        index; it keeps its number. So the place to go on from is looked for, not remembered.
        """
        self._next = self._place()
        while (row := self._row(self._next)) is not None:
            if row.episode_id > self.last_id:
                episode = self._read(row)
                if episode is None:  # being moved at this very moment: look again later
                    return
                self.last_id = row.episode_id
                yield episode
            self._next += 1

    def _place(self) -> int:
        """The first index whose predecessor is known."""
        index = self._next
        while index > 0:
            row = self._row(index - 1)
            if row is not None and row.episode_id <= self.last_id:
                break
            index -= 1
        return index

    def _row(self, index: int) -> EpisodeRow | None:
        name = file_path(ROW_PATH, index)
        try:
            data = (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None
        try:
            row = decode_row(data, name)
        except DataError:  # the writer will set it aside when it opens the folder
            return None
        return row if row.episode_index == index else None

    def _read(self, row: EpisodeRow) -> Episode | None:
        try:
            data = (self.folder / file_path(DATA_PATH, row.episode_index)).read_bytes()
        except FileNotFoundError:
            return None
        return decode_episode(data, row) if digest(data) == row.data_sha256 else None
