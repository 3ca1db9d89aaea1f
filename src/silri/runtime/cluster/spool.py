"""Finished episodes on a robot's disk, until the learner's store has acknowledged them.

One file per episode, named by its number, whole and durable once it has its name. Two processes
share the folder: the control loop adds, the uplink uploads in order and removes. Neither waits
for the other. An episode's *origin* (robot, spool, number) is unique for ever, so that the store
can refuse what it has, however often it is sent::

    spool/identity.json         robot and spool id; a lost spool folder gets a new id
    spool/episodes/00000017     waiting
    spool/acknowledged.json     the last number that is done with; written before the removal
    spool/damaged/              what could not be read back
    spool/sent/                 the last that are done with, if a page shows them
"""

from __future__ import annotations

import dataclasses
import shutil
import uuid
from pathlib import Path
from typing import NamedTuple

import msgpack

from silri.core.errors import DataError
from silri.data.episode import Episode
from silri.runtime.cluster.paths import SpoolPaths
from silri.runtime.cluster.sent import Sent
from silri.store.format.encoded import EncodedEpisode, encode
from silri.store.format.rows import decode_row, encode_row
from silri.store.format.sealed import digest, read_sealed_json, sealed_json
from silri.store.safety import files
from silri.store.safety.space import explained

FORMAT = 1
WAITING = "episodes"
RESERVE_BYTES = 50_000_000  # never used for episodes: acknowledging them needs room as well
_DIGITS = 8


class Upload(NamedTuple):
    """What a robot sends.

    Attributes:
        episode: its ``origin`` says where it comes from; its ``episode_id`` is the robot's.
        reason: empty, or why it must go into quarantine.
    """

    episode: EncodedEpisode
    reason: str


def encode_upload(upload: Upload) -> bytes:
    """An episode as one sealed message."""
    frames, row = upload.episode.frames, encode_row(upload.episode.row)
    packed: bytes = msgpack.packb({"frames": frames, "row": row, "reason": upload.reason})
    sealed: bytes = msgpack.packb({"format": FORMAT, "sha256": digest(packed), "body": packed})
    return sealed


def decode_upload(data: bytes, where: str) -> Upload:
    """The inverse of :func:`encode_upload`; checks every byte, and decodes no image.

    Raises:
        DataError: it is damaged, or of another version; names ``where``.
    """
    try:
        outer = msgpack.unpackb(data)
        version, body = outer["format"], outer["body"]
        if version == FORMAT and digest(body) == outer["sha256"]:
            content = msgpack.unpackb(body)
            row, frames = decode_row(content["row"], where), content["frames"]
            reason = str(content["reason"])
        elif version == FORMAT:
            raise DataError(f"{where} does not match its checksum")
        else:
            raise DataError(f"{where} has format {version}; this version reads {FORMAT}")
    except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
        raise DataError(f"{where} is no episode from a robot: {error!r}") from error
    if digest(frames) != row.data_sha256:
        raise DataError(f"{where}: the frames do not match their checksum")
    return Upload(EncodedEpisode(frames, row), reason)


class Spool:
    """The folder between a control loop and its uplink.

    Attributes:
        folder: on the robot's own disk.
        robot: name of the robot.
        identity: unique id of this spool.
    """

    def __init__(self, folder: Path, robot: str) -> None:
        """Open or create; safe while the other process uses it.

        Raises:
            DataError: the folder belongs to another robot.
        """
        self.folder, self.robot = folder, robot
        self._sent = Sent(folder)
        self._waiting = folder / WAITING
        files.make_dir(self._waiting)
        self.identity = self._identify()

    def _identify(self) -> str:
        path = self.folder / "identity.json"
        if path.exists():
            try:
                record = read_sealed_json(path.read_bytes(), str(path))
            except DataError:
                pass  # a fresh id is always right: what waits carries its own origin
            else:
                if record["robot"] != self.robot:
                    raise DataError(
                        f"{self.folder} is the spool of robot '{record['robot']}', not of "
                        f"'{self.robot}'; give each robot a --spool of its own"
                    )
                return str(record["spool"])
        identity = uuid.uuid4().hex[:12]
        files.atomic_write(path, sealed_json({"robot": self.robot, "spool": identity}))
        return identity

    def waiting(self) -> list[int]:
        """Numbers of the episodes that wait, ascending."""
        names = (path.name for path in self._waiting.iterdir())
        return sorted(int(name) for name in names if name.isdecimal())

    def next_number(self) -> int:
        """The number of the next episode; asked once, when the control loop starts."""
        # In this order: the uplink writes what is acknowledged before it removes the file.
        waiting = self.waiting()
        return 1 + max([*waiting, self._acknowledged(), -1])

    def origin(self, number: int) -> str:
        """What names an episode in every store for ever."""
        return f"{self.robot}/{self.identity}:{number}"

    def check_room(self, size: int) -> None:
        """Whether an episode of ``size`` bytes will find room; asked before it is driven.

        Raises:
            DataError: it may not.
        """
        free = shutil.disk_usage(self.folder).free
        if free < size + RESERVE_BYTES and self._sent.paths():
            self._sent.clear()
            free = shutil.disk_usage(self.folder).free
        if free < size + RESERVE_BYTES:
            raise DataError(
                f"the disk of {self.folder} has {free / 1e6:.0f} MB left and an episode may need "
                f"{size / 1e6:.0f} MB beside a reserve of {RESERVE_BYTES / 1e6:.0f} MB: the robot "
                f"stops before one is lost. Make room there, or connect the learner, which takes "
                f"the {len(self.waiting())} episodes that wait"
            )

    def add(self, number: int, episode: Episode, reason: str, fps: float) -> None:
        """Keep a finished episode; when this returns, no crash can lose it.

        Raises:
            DataError: the disk is full; the same call may be made again when there is room.
        """
        named = encode(dataclasses.replace(episode, origin=self.origin(number)), fps)
        data, path = encode_upload(Upload(named, reason)), self._path(number)
        with explained(self.folder, f"keeping episode {number}", len(data)):
            try:
                files.atomic_write(path, data)
            except OSError:
                files.temporary(path).unlink(missing_ok=True)  # the room that it takes
                raise

    def read(self, number: int) -> bytes:
        """What is to be sent, its checksum verified.

        Raises:
            DataError: the file is damaged; see :meth:`set_aside`.
        """
        path = self._path(number)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from error
        decode_upload(data, str(path))
        return data

    def acknowledge(self, number: int) -> None:
        """The store has it: remember that, then let it go.

        Raises:
            DataError: the disk is full, and the number of this one is kept nowhere else.
        """
        with explained(self.folder, f"acknowledging episode {number}"):
            try:
                self._use_up(number)
            except OSError:
                if number >= max(self.waiting(), default=-1):
                    raise
        if SpoolPaths(self.folder).page.exists():
            self._sent.take(self._path(number))
        else:
            files.remove(self._path(number))

    def set_aside(self, number: int) -> Path:
        """Take an unreadable file out of the way; it is kept."""
        self._use_up(number)  # it may have been sent before it was damaged
        files.make_dir(self.folder / "damaged")
        place = self.folder / "damaged" / f"{self.identity}-{number:0{_DIGITS}d}"
        files.rename(self._path(number), place)
        return place

    def _path(self, number: int) -> Path:
        return self._waiting / f"{number:0{_DIGITS}d}"

    def _use_up(self, number: int) -> None:
        """No other episode is to have this number, even when its file is gone."""
        record = sealed_json({"acknowledged": max(number, self._acknowledged())})
        files.atomic_write(self.folder / "acknowledged.json", record)

    def _acknowledged(self) -> int:
        path = self.folder / "acknowledged.json"
        try:
            return int(read_sealed_json(path.read_bytes(), str(path))["acknowledged"])
        except FileNotFoundError:
            return -1
        except DataError:
            # The number of the last one is lost, so this spool's numbers can no longer be
            # trusted to be new: go on under a fresh identity.
            files.remove(self.folder / "identity.json")
            files.remove(path)
            self.identity = self._identify()
            return -1
