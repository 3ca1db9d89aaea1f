"""Episodes on disk: a LeRobotDataset v3 whose every episode is committed before it counts.

Order of a commit, each step atomic and durable before the next::

    data/chunk-000/file-007.parquet           the frames
    meta/tasks.parquet                        only if the task is new
    meta/episodes/chunk-000/file-007.parquet  the row: from here on the episode counts
    meta/stats.json, meta/info.json           derived; rebuilt on opening if they do not fit

There is one file per episode, so nothing that is stored is ever rewritten by a commit, and its
cost does not grow with the dataset. Opening verifies every checksum (see
:mod:`silri.store.safety.recovery`); the real ``lerobot`` reads the folder at any time.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from silri.core.errors import DataError, RunFolderError
from silri.core.specs import EnvSpec
from silri.data.episode import Episode, check_episode
from silri.store.format.derived import Derived
from silri.store.format.encoded import EncodedEpisode
from silri.store.format.images import check_storable, is_image
from silri.store.format.info import refuse_foreign, silri_format
from silri.store.format.layout import (
    DATA_PATH,
    INFO_PATH,
    SILRI_FORMAT,
    TASKS_PATH,
    file_path,
)
from silri.store.format.lerobot import decode_episode, encode_frames, episode_row, move_frames
from silri.store.format.numbers import frame_statistics, image_statistics
from silri.store.format.rows import EpisodeRow, encode_row, encode_tasks
from silri.store.format.sealed import digest
from silri.store.safety import files
from silri.store.safety.lock import FolderLock
from silri.store.safety.quarantine import Quarantine, Quarantined
from silri.store.safety.recovery import recorded_rate, recover, remove_episode, write_episode
from silri.store.safety.space import explained

_LOG = logging.getLogger(__name__)


class EpisodeStore:
    """The single writer of a dataset folder.

    Two numbers name an episode. ``episode_id`` counts the run's episodes, stored and quarantined
    ones together, without gaps. ``episode_index`` counts the stored ones, as LeRobot needs it;
    :meth:`read` takes this one, and :attr:`rows` says which id is where.

    Attributes:
        folder: the dataset.
        spec: what every episode must fit, with the rate that the folder's episodes have.
        rows: one per stored episode, by ``episode_index``.
        origins: of all episodes here and in quarantine that have one. What is in it was received,
            whole, and is not to be received again.
        messages: what opening found and set aside or repaired, for a person to read.
    """

    def __init__(
        self, folder: Path, quarantine: Path, spec: EnvSpec, diagnostics: Sequence[str] = ()
    ) -> None:
        """Open or create a dataset, put it in order and lock it.

        Args:
            folder: the dataset; created if missing.
            quarantine: where damaged and refused episodes go; created when first needed.
            spec: of the environment. Images are (H, W, 3) or (H, W, 1) uint8, kept as PNG.
            diagnostics: names that ``Agent.act`` will report. Each gets a column in every
                episode (0 where it said nothing); other names are stored too, but LeRobot
                then returns None for them in episodes that lack them.

        Raises:
            RunFolderError: if another process writes there.
            SpecError: a uint8 observation that is no image.
            DataError: if the stored episodes do not fit ``spec`` (names the column), or another
                program or a later version of silri wrote the folder; nothing is changed then.
        """
        check_storable(spec)
        self.folder = folder
        self._diagnostics = tuple(diagnostics)
        self._format = silri_format(folder)
        refuse_foreign(folder)
        with explained(folder, "a dataset"):
            files.make_dir(folder)
            self._lock = FolderLock(folder)
        try:
            with explained(folder, "putting it in order"):
                self._quarantine = Quarantine(quarantine)
                # A dataset has one rate. Folders of older versions say 10 whatever the loop did.
                rate = recorded_rate(folder) or spec.control_hz
                self.spec = spec.at_rate(rate)
                self.rows, self.messages = recover(
                    folder, self._quarantine, rate, self._diagnostics
                )
                if rate != spec.control_hz and self.rows:
                    self.messages.append(
                        f"{folder} goes on at {rate:g} frames per second, as it began; "
                        f"{spec.name} has {spec.control_hz:g} decisions per second now"
                    )
                self._load()
        except BaseException:
            self._lock.release()
            raise
        for message in self.messages:
            _LOG.warning(message)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def next_episode_id(self) -> int:
        """The lowest id that the next episode of the run may have; discarded ones leave gaps."""
        last = max([row.episode_id for row in self.rows[-1:]], default=-1)
        return 1 + max([last, *self._quarantine.episodes])

    def commit(self, episode: Episode | EncodedEpisode) -> EpisodeRow:
        """Store a finished episode; when this returns, no crash can lose it.

        The images of one that is encoded already are written as they are.

        Raises:
            SpecError: if it does not fit the spec.
            NonFiniteError: on NaN or infinity; see :meth:`quarantine`.
            DataError: if its id is below :attr:`next_episode_id`, its origin is here already, or
                the disk is full; the store is as it was then.
            RunFolderError: the folder has vanished, or cannot be written any more.
        """
        self._check_id(episode)
        if isinstance(episode, EncodedEpisode):
            episode.check(self.spec)
        else:
            check_episode(episode, self.spec)
        self._check_there()
        row, frames = self._encode(episode, len(self.rows))
        with explained(self.folder, f"storing episode {episode.episode_id}", len(frames)):
            try:
                self._write_task(episode.task)
                write_episode(self.folder, row, frames)
            except OSError:
                # Neither half an episode nor the room that it takes stays behind. If this fails
                # too, the next commit or the next opening does it.
                with contextlib.suppress(OSError):
                    remove_episode(self.folder, row.episode_index)
                raise
        self._remember(row, frames)
        self._write_numbers()
        return row

    def read(self, index: int) -> Episode:
        """The episode at ``index`` in :attr:`rows`, bit for bit what was committed.

        Raises:
            DataError: if there is none, or its file changed since it was committed.
        """
        if not 0 <= index < len(self.rows):
            raise DataError(f"no episode {index} in {self.folder}: it has {len(self.rows)}")
        row = self.rows[index]
        path = self.folder / file_path(DATA_PATH, index)
        data = path.read_bytes() if path.exists() else b""
        if not row.matches(data):
            raise DataError(
                f"{path} changed since it was committed; open the folder anew to set it aside"
            )
        return decode_episode(data, row)

    def episodes(self) -> Iterator[Episode]:
        """Every stored episode, in order."""
        return (self.read(index) for index in range(len(self.rows)))

    def quarantine(self, episode: Episode | EncodedEpisode, reason: str) -> Path:
        """Keep an episode aside, whatever is wrong with it; it takes its number in the run.

        Args:
            episode: not trained on, nor part of the dataset.
            reason: for the person who looks for it.

        Returns:
            The folder it is in.

        Raises:
            DataError: if its id is below :attr:`next_episode_id`, or its origin is here already.
        """
        self._check_id(episode)
        self._check_there()
        row, frames = self._encode(episode, len(self.rows))
        entry = Quarantined(
            episode.episode_id, len(episode), reason, episode.is_demo, episode.origin
        )
        contents = {"data.parquet": frames, "row.parquet": encode_row(row)}
        size = sum(len(content) for content in contents.values())
        with explained(self.folder, f"setting episode {episode.episode_id} aside", size):
            place = self._quarantine.add_episode(entry, contents)
        self.origins |= {episode.origin} - {""}
        return place

    def set_attempt_aside(self, episode: Episode, reason: str) -> Path:
        """Keep what there is of an attempt that is no episode of the run; it takes no number.

        The same attempt a second time changes nothing.
        """
        row, frames = self._encode(episode, len(self.rows))
        contents = {"data.parquet": frames, "row.parquet": encode_row(row)}
        with explained(self.folder, "setting an attempt aside", len(frames)):
            return self._quarantine.add_stray(reason, contents)

    def quarantined(self) -> list[Quarantined]:
        """Every episode that was set aside, by id: its steps count in the run's schedule."""
        return [self._quarantine.episodes[key] for key in sorted(self._quarantine.episodes)]

    def close(self) -> None:
        """Let another process write here."""
        self._lock.release()

    def __enter__(self) -> EpisodeStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _write_task(self, task: str) -> None:
        """Before the row that names it; an unused task does no harm."""
        if task not in self._derived.tasks:
            path = self.folder / TASKS_PATH
            files.make_dir(path.parent)
            files.atomic_write(path, encode_tasks([*self._derived.tasks, task]))

    def _check_there(self) -> None:
        """Whether the folder is the one that was opened: a disk may have been taken out."""
        if not self._lock.in_place():
            raise RunFolderError(
                f"{self.folder} has vanished or was replaced while it was written to; bring it "
                "back and go on from it"
            )

    def _check_id(self, episode: Episode | EncodedEpisode) -> None:
        if episode.episode_id < self.next_episode_id:
            raise DataError(
                f"episode_id {episode.episode_id} does not follow: {self.folder} and its "
                f"quarantine expect {self.next_episode_id} or a later one"
            )
        if episode.origin in self.origins:
            raise DataError(
                f"the episode from {episode.origin} is in {self.folder} or its quarantine already; "
                "look into 'origins' before storing what was sent"
            )

    def _encode(self, episode: Episode | EncodedEpisode, index: int) -> tuple[EpisodeRow, bytes]:
        first_frame = self.rows[-1].first_frame + self.rows[-1].steps if self.rows else 0
        tasks = self._derived.tasks
        task_index = tasks.index(episode.task) if episode.task in tasks else len(tasks)
        if isinstance(episode, EncodedEpisode):
            row = replace(
                episode.row,
                episode_index=index,
                first_frame=first_frame,
                task_index=task_index,
            )
            frames = move_frames(episode.frames, row, self.spec.control_hz, self._diagnostics)
            stats = frame_statistics(frames, episode.image_statistics())
            return replace(row, stats=stats, data_sha256=digest(frames)), frames
        frames = encode_frames(
            episode,
            episode_index=index,
            first_frame=first_frame,
            task_index=task_index,
            fps=self.spec.control_hz,
            diagnostics=self._diagnostics,
        )
        row = episode_row(
            episode,
            frames,
            frame_statistics(frames, image_statistics(episode)),
            episode_index=index,
            first_frame=first_frame,
            task_index=task_index,
        )
        return row, frames

    def _load(self) -> None:
        """Rebuild what is derived from the rows, and repair the files that do not agree."""
        rows, self.rows = self.rows, []
        self.origins = {entry.origin for entry in self._quarantine.episodes.values()} - {""}
        self._derived = Derived()
        for row in rows:
            self._remember(row, self.folder / file_path(DATA_PATH, row.episode_index))
        if not rows and not (self.folder / INFO_PATH).exists():
            return
        self._check_features()
        files.make_dir((self.folder / INFO_PATH).parent)
        for name, content in self._derived.everything(self.spec):
            path = self.folder / name
            if not path.exists() or path.read_bytes() != content:
                files.atomic_write(path, content)
                old = name != TASKS_PATH and (self._format or SILRI_FORMAT) < SILRI_FORMAT
                self.messages.append(
                    f"{name} brought to silri_format {SILRI_FORMAT}; it had {self._format}"
                    if old
                    else f"{name} did not fit the stored episodes; rebuilt"
                )

    def _check_features(self) -> None:
        """Stored columns against the spec, before anything is written."""
        expected = {
            f"observation.{key}": list(array.shape)
            if is_image(array)
            else [max(1, _product(array.shape))]
            for key, array in self.spec.observation.items()
            if not array.is_text
        }
        expected |= {"action": [self.spec.action.size]}
        stored = {
            name: feature["shape"]
            for name, feature in self._derived.features.items()
            if name == "action" or name.startswith("observation.")
        }
        for name in sorted(stored.keys() | expected.keys()) if self.rows else ():
            if stored.get(name) != expected.get(name):
                raise DataError(
                    f"'{name}' has shape {stored.get(name)} in {self.folder} and "
                    f"{expected.get(name)} in {self.spec.name}; this folder belongs to another "
                    "environment or setting"
                )

    def _remember(self, row: EpisodeRow, frames: bytes | Path) -> None:
        self.rows.append(row)
        self.origins |= {row.origin} - {""}
        self._derived.add(row, frames)

    def _write_numbers(self) -> None:
        try:
            for name, content in self._derived.numbers(self.spec):
                # Not flushed: a commit would wait twice as long for what can be rebuilt.
                files.atomic_write(self.folder / name, content, durable=False)
        except OSError as error:  # the episode is in place; this can wait
            _LOG.warning("%s: %s; rebuilt when it is opened again", self.folder, error)


def _product(shape: tuple[int, ...]) -> int:
    result = 1
    for size in shape:
        result *= size
    return result
