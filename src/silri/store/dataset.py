"""Reading a dataset that somebody else may be using: no lock, no repair, every checksum checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from silri.core.errors import DataError
from silri.core.specs import EnvSpec
from silri.data.episode import Episode, check_episode
from silri.store.format.encoded import EncodedEpisode, encode
from silri.store.format.info import foreign_info, read_info, recorded_elsewhere, silri_format
from silri.store.format.layout import DATA_PATH, INFO_PATH, ROW_PATH, file_path
from silri.store.format.rows import decode_row
from silri.store.safety.recovery import indices_of
from silri.store.tools.foreign import read_foreign


def read_dataset(
    folder: Path, spec: EnvSpec | None = None, *, demonstrations: bool = True
) -> list[Episode]:
    """Every episode of a dataset, in order; see :func:`iterate_dataset`."""
    return list(iterate_dataset(folder, spec, demonstrations=demonstrations))


def iterate_dataset(
    folder: Path, spec: EnvSpec | None = None, *, demonstrations: bool = True
) -> Iterator[Episode]:
    """Every episode of a dataset, in order, one in memory at a time.

    Args:
        folder: ``runs/NAME/episodes``, what ``silri record`` wrote, or any LeRobotDataset v3.0
            (:mod:`silri.store.tools.foreign` says how what it lacks is filled in).
        spec: check the episodes against it; None reads whatever is there.
        demonstrations: of a dataset that silri did not record: a person acted in every frame.

    Raises:
        DataError: no dataset there, of another version, or an episode is damaged.
        SpecError: an episode does not fit ``spec``.
    """
    info = None if is_silris(folder) else foreign_info(folder)
    if info is not None:
        yield from read_foreign(folder, info, spec, demonstrations)
        return
    for encoded in _stored(folder, read_info(folder) or {}):
        episode = encoded.decode()
        if spec is not None:
            check_episode(episode, spec)
        yield episode


def iterate_encoded(folder: Path, spec: EnvSpec) -> Iterator[EncodedEpisode]:
    """Every episode with its images compressed; those that silri recorded are not decoded.

    Args:
        folder: see :func:`iterate_dataset`.
        spec: to read the datasets of other programs by; episodes of silri are not checked.

    Raises:
        DataError: see :func:`iterate_dataset`.
        SpecError: likewise, of another program's.
    """
    info = read_info(folder)
    if info is None or recorded_elsewhere(folder):
        for episode in iterate_dataset(folder, spec):
            yield encode(episode, spec.control_hz)
        return
    silri_format(folder)
    yield from _stored(folder, info)


def _stored(folder: Path, info: Mapping[str, Any]) -> Iterator[EncodedEpisode]:
    index = 0
    while (folder / file_path(ROW_PATH, index)).exists():
        yield _read_episode(folder, index)
        index += 1
    _check_complete(folder, index, info)


def _check_complete(folder: Path, count: int, info: Mapping[str, Any]) -> None:
    """Whether there is nothing after the last row; frames alone are a commit under way."""
    total = info.get("total_episodes", 0)
    last = max([-1, *indices_of(folder, DATA_PATH), *indices_of(folder, ROW_PATH)])
    # A row that is there now was committed after the last one was read.
    beyond = last > count and not (folder / file_path(ROW_PATH, count)).exists()
    if beyond or not isinstance(total, int) or total > count:
        raise DataError(
            f"{folder / file_path(ROW_PATH, count)} is missing, and there were episodes after it; "
            f"'silri data repair {folder}' puts the others in order"
        )


def is_silris(folder: Path) -> bool:
    """Whether silri recorded the dataset, so that its episodes can be read one by one.

    Raises:
        DataError: there is no dataset, or of a later version.
    """
    if not (folder / INFO_PATH).is_file():
        raise DataError(f"{folder} is no dataset: it has no {INFO_PATH}")
    silri_format(folder)
    return not recorded_elsewhere(folder)


def count_episodes(folder: Path) -> int:
    """How many episodes a dataset of silri's has by now; they have the indices below it."""
    count = 0
    while (folder / file_path(ROW_PATH, count)).exists():
        count += 1
    return count


def read_episode(folder: Path, index: int) -> Episode:
    """One episode of a dataset of silri's.

    Raises:
        DataError: it is damaged, or gone.
    """
    return _read_episode(folder, index).decode()


def _read_episode(folder: Path, index: int) -> EncodedEpisode:
    name = file_path(ROW_PATH, index)
    if not (folder / name).exists():
        raise DataError(f"{folder / name} is missing: the dataset has changed meanwhile")
    row = decode_row((folder / name).read_bytes(), name)
    path = folder / file_path(DATA_PATH, index)
    data = path.read_bytes() if path.exists() else b""
    if not row.matches(data):
        raise DataError(
            f"{path} is missing or does not match its checksum; 'silri data repair {folder}' "
            "sets it aside"
        )
    return EncodedEpisode(data, row)
