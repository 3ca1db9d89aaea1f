"""What a robot has of its own episodes: those that wait to be sent, and the last that were.

The run's folder is where the learner is; of other robots' episodes nothing is here.
"""

from __future__ import annotations

from pathlib import Path

from silri.core.errors import DataError
from silri.data.episode import Episode
from silri.runtime.cluster.sent import Sent
from silri.runtime.cluster.spool import WAITING, Upload, decode_upload
from silri.store.format.encoded import EncodedEpisode
from silri.store.format.lerobot import decode_episode
from silri.store.library import Entry


class OwnEpisodes:
    """As :class:`~silri.store.library.Library`, of a spool; another process moves its files.

    Attributes:
        folder: the spool.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._places = (folder / WAITING, Sent(folder).folder)
        self._known: dict[int, Entry | None] = {}  # None: it is for the quarantine

    def entries(self) -> list[Entry]:
        """One per episode that is here, in order.

        Raises:
            DataError: a file is damaged.
        """
        # A file moves from the first place to the second: looked at in this order, none is missed.
        names = [p.name for place in self._places if place.is_dir() for p in place.iterdir()]
        numbers = sorted({int(name) for name in names if name.isdecimal()})
        self._known = {n: known for n, known in self._known.items() if n in numbers}
        for number in numbers:
            if number not in self._known and (upload := self._read(number)) is not None:
                self._known[number] = None if upload.reason else _entry(upload.episode)
        return [entry for _, entry in sorted(self._known.items()) if entry is not None]

    def episode(self, episode_id: int) -> Episode:
        """The robot's episode with this number.

        Raises:
            DataError: it is not here, or damaged.
        """
        upload = self._read(episode_id)
        if upload is None:
            raise DataError(
                f"episode {episode_id} is not on this robot's machine any more: look in the run's "
                "folder, where the learner is"
            )
        return upload.episode.decode()

    def _read(self, number: int) -> Upload | None:
        for place in self._places:
            path = place / f"{number:08d}"
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                continue
            return decode_upload(data, str(path))
        return None


def _entry(encoded: EncodedEpisode) -> Entry:
    episode = decode_episode(encoded.frames, encoded.row, images=False)
    return Entry(
        index=episode.episode_id,
        episode_id=episode.episode_id,
        steps=len(episode),
        success=episode.success,
        is_demo=episode.is_demo,
        seed=episode.seed,
        task=episode.task,
        human_steps=int(episode.frames["is_intervention"].sum()),
        total_reward=float(episode.frames["reward"].sum()),
    )
