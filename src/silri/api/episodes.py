"""Episodes that were recorded, as a sequence that reads one when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import overload

from silri.data.episode import Episode
from silri.store.dataset import count_episodes, is_silris, read_dataset, read_episode
from silri.store.tools.survey import Place


class Episodes(Sequence[Episode]):
    """The episodes of a dataset, in order; each is read from the disk when it is asked for.

    Attributes:
        folder: of the dataset.
    """

    def __init__(self, folder: Path, indices: Sequence[int], known: list[Episode] | None) -> None:
        """``known``: those of another program's dataset, which are read at once; else None."""
        self.folder = folder
        self._indices, self._known = indices, known

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> Episode: ...

    @overload
    def __getitem__(self, index: slice) -> Episodes: ...

    def __getitem__(self, index: int | slice) -> Episode | Episodes:
        """One episode, or a part of the sequence, of which nothing is read yet.

        Raises:
            IndexError: there is no such episode.
            DataError: it is damaged.
        """
        if isinstance(index, slice):
            return Episodes(self.folder, self._indices[index], self._known)
        place = self._indices[index]
        return self._known[place] if self._known is not None else read_episode(self.folder, place)

    def __repr__(self) -> str:
        return f"Episodes({len(self)} in {self.folder})"


def read_episodes(folder: str | Path) -> Episodes:
    """The episodes of a run or a dataset; a run may be writing there.

    Args:
        folder: a run folder, what ``silri record`` wrote, or any LeRobotDataset v3.0.

    Returns:
        A sequence: ``len``, indices, slices, ``for``. Each item is a
        :class:`silri.data.episode.Episode`: ``observations`` (T + 1 rows), ``frames`` (T rows:
        ``action``, ``reward``, ``is_intervention``, ...), ``success``, ``is_demo``, ``stats()``.

    Raises:
        DataError: there is no dataset, or it is of a later version.

    Example::

        for episode in silri.read_episodes("runs/mine")[-10:]:
            print(episode.success, episode.stats()["intervention_rate"])
    """
    place = Place.of(Path(folder).expanduser()).episodes
    if is_silris(place):
        return Episodes(place, range(count_episodes(place)), None)
    known = read_dataset(place)
    return Episodes(place, range(len(known)), known)
