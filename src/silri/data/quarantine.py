"""What is not trained on and yet not thrown away: ``quarantine/<name>/`` with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from silri.core.errors import DataError
from silri.data import files
from silri.data.layout import SILRI_FORMAT
from silri.data.sealed import digest, read_sealed_json, sealed_json

_REASON = "reason.json"


class Quarantined(NamedTuple):
    """An episode that was set aside. Its number is taken, and its steps were taken in the run.

    Attributes:
        episode_id: number in the run.
        steps: how long it was; 0 if nothing of it could be read.
        reason: why.
        is_demo: its steps are demonstration steps.
        origin: who sent it; see :class:`~silri.data.episode.Episode`.
    """

    episode_id: int
    steps: int
    reason: str
    is_demo: bool
    origin: str = ""


class Quarantine:
    """A folder of set-aside episodes and stray files.

    Attributes:
        folder: created when first needed.
        episodes: by episode id.
        messages: what was wrong in the folder itself when it was opened.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.episodes: dict[int, Quarantined] = {}
        self.messages: list[str] = []
        self._hashes: set[str] = set()
        for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
            if entry.name.endswith(files.TEMPORARY):
                files.remove_tree(entry)  # never in place: its source is still where it was
            elif entry.is_dir():
                self._load(entry)

    def holds(self, data: bytes) -> bool:
        """Whether a file of exactly this content was set aside before."""
        return digest(data) in self._hashes

    def add_episode(self, episode: Quarantined, contents: Mapping[str, bytes]) -> Path:
        """Set an episode aside: in one step, durably.

        Args:
            episode: its id is not in quarantine yet.
            contents: file name to content.

        Returns:
            The folder it is in now.
        """
        name = f"episode-{episode.episode_id:06d}"
        path = self._put(name, episode.reason, contents, episode)
        self.episodes[episode.episode_id] = episode
        return path

    def add_stray(self, reason: str, contents: Mapping[str, bytes]) -> Path:
        """Set files aside that are no episode of the run, such as an unfinished write."""
        name = digest(b"".join(contents.values()))[:12]
        return self._put(f"stray-{name}", reason, contents, None)

    def _put(
        self, name: str, reason: str, contents: Mapping[str, bytes], episode: Quarantined | None
    ) -> Path:
        files.make_dir(self.folder)
        path = self.folder / name
        beside = files.temporary(path)
        if beside.exists():  # left by a failed attempt in this same process (a full disk)
            files.remove_tree(beside)
        if path.exists():
            return path  # a stray of the same content: the name is its hash
        files.make_dir(beside)
        for file, data in contents.items():
            files.write_file(beside / file, data)
        hashes = {file: digest(data) for file, data in contents.items()}
        record = {"reason": reason, "files": hashes, "episode_id": None}
        if episode is not None:
            record |= episode._asdict()
        files.write_file(beside / _REASON, sealed_json(record))
        files.sync_dir(beside)
        files.rename(beside, path)
        self._hashes.update(hashes.values())
        return path

    def _load(self, entry: Path) -> None:
        try:
            record = read_sealed_json((entry / _REASON).read_bytes(), str(entry / _REASON))
            readable = True
        except (DataError, OSError) as error:
            self.messages.append(f"{error}; the length of that episode is unknown, taken as 0")
            number = entry.name.removeprefix("episode-")
            record = {"reason": "unreadable reason", "files": {}, "steps": 0, "is_demo": False}
            record["episode_id"] = int(number) if number.isdecimal() else None
            readable = False
        self._hashes.update(record["files"].values())
        if record["episode_id"] is not None and "origin" not in record:
            record["origin"] = ""
            if readable:
                files.atomic_write(entry / _REASON, sealed_json(record))
                self.messages.append(f"{entry / _REASON} brought to silri_format {SILRI_FORMAT}")
        if record["episode_id"] is not None:
            episode = Quarantined(**{name: record[name] for name in Quarantined._fields})
            self.episodes[episode.episode_id] = episode
