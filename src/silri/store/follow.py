"""Reading episodes as another process stores them: no lock, no repair, every checksum checked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from silri.core.errors import DataError
from silri.data.episode import Episode
from silri.store.format.layout import DATA_PATH, ROW_PATH, file_path
from silri.store.format.lerobot import decode_episode
from silri.store.format.rows import EpisodeRow, decode_row


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

        A writer that opens a damaged folder closes gaps, so that episodes may move to smaller
        indices, at any moment; they keep their numbers and their order. So an episode is the next
        one if the one before it, looked at after it, is known.
        """
        while True:
            row = self._row(self._next)
            if row is not None and row.episode_id <= self.last_id:
                self._next += 1
            elif self._next > 0 and not self._known(self._next - 1):
                self._next -= 1
            elif row is None or (episode := self._read(row)) is None:
                return  # not there yet, or being moved at this very moment: look again later
            else:
                self.last_id = row.episode_id
                yield episode

    def _known(self, index: int) -> bool:
        row = self._row(index)
        return row is not None and row.episode_id <= self.last_id

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
        return decode_episode(data, row) if row.matches(data) else None
