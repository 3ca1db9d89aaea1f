"""What is not trained on and yet not thrown away: ``quarantine/<name>/`` with its reason."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from silri.core.errors import DataError
from silri.store.format.layout import SILRI_FORMAT
from silri.store.format.rows import decode_row
from silri.store.format.sealed import digest, read_sealed_json, sealed_json
from silri.store.safety import files

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
        record, problem = _read_record(entry)
        if problem is not None:
            self.messages.append(f"{problem}; {record['steps']} steps are counted for that episode")
        elif record["episode_id"] is not None and "origin" not in record:
            files.atomic_write(entry / _REASON, sealed_json({**record, "origin": ""}))
            self.messages.append(f"{entry / _REASON} brought to silri_format {SILRI_FORMAT}")
        self._hashes.update(record["files"].values())
        episode = _episode(record)
        if episode is not None:
            self.episodes[episode.episode_id] = episode


def read_quarantine(folder: Path) -> Iterator[tuple[Quarantined | None, str | None]]:
    """Each entry without changing it: the episode, if it is one, and what is wrong with it."""
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not entry.is_dir():
            continue
        if entry.name.endswith(files.TEMPORARY):
            yield None, f"{entry}: an unfinished write"
            continue
        record, problem = _read_record(entry)
        damaged = [name for name, known in record["files"].items() if _hash(entry / name) != known]
        if damaged and problem is None:
            problem = f"{entry}: {', '.join(damaged)} missing or not matching the checksum"
        yield _episode(record), problem


def _read_record(entry: Path) -> tuple[dict[str, Any], str | None]:
    """What ``reason.json`` says, or as much as the folder's name does and what is wrong."""
    path = entry / _REASON
    try:
        return read_sealed_json(path.read_bytes(), str(path)), None
    except (DataError, OSError) as error:
        number = entry.name.removeprefix("episode-")
        record: dict[str, Any] = {"reason": "unreadable reason", "files": {}}
        record |= {"steps": 0, "is_demo": False}
        known = number.isdecimal() and number.isascii()
        record["episode_id"] = int(number) if known else None
        with contextlib.suppress(DataError, OSError):  # what was set aside may say it itself
            row = decode_row((entry / "row.parquet").read_bytes(), str(entry))
            record |= {"steps": row.steps, "is_demo": row.is_demo, "origin": row.origin}
        return record, str(error)


def _episode(record: Mapping[str, Any]) -> Quarantined | None:
    if record["episode_id"] is None:
        return None
    # silri_format 1 had no origin.
    known = {"origin": "", **record}
    return Quarantined(**{name: known[name] for name in Quarantined._fields})


def _hash(path: Path) -> str | None:
    return digest(path.read_bytes()) if path.is_file() else None
