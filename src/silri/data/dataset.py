"""Reading a dataset that somebody else may be using: no lock, no repair, every checksum checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from silri.core.errors import DataError
from silri.core.specs import EnvSpec
from silri.data.episode import Episode, check_episode
from silri.data.foreign import read_foreign
from silri.data.info import is_foreign, read_info, silri_format
from silri.data.layout import DATA_PATH, INFO_PATH, ROW_PATH, file_path
from silri.data.lerobot import decode_episode
from silri.data.recovery import indices_of
from silri.data.rows import decode_row
from silri.data.sealed import digest


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
            (:mod:`silri.data.foreign` says how what it lacks is filled in).
        spec: check the episodes against it; None reads whatever is there.
        demonstrations: of a dataset that silri did not record: a person acted in every frame.

    Raises:
        DataError: no dataset there, of another version, or an episode is damaged.
        SpecError: an episode does not fit ``spec``.
    """
    if not (folder / INFO_PATH).is_file():
        raise DataError(f"{folder} is no dataset: it has no {INFO_PATH}")
    silri_format(folder)
    info = read_info(folder)
    if info is not None and is_foreign(info):
        yield from read_foreign(folder, info, spec, demonstrations)
        return
    index = 0
    while (folder / file_path(ROW_PATH, index)).exists():
        episode = _read_episode(folder, index)
        if spec is not None:
            check_episode(episode, spec)
        yield episode
        index += 1
    _check_complete(folder, index, info or {})


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


def _read_episode(folder: Path, index: int) -> Episode:
    name = file_path(ROW_PATH, index)
    row = decode_row((folder / name).read_bytes(), name)
    path = folder / file_path(DATA_PATH, index)
    data = path.read_bytes() if path.exists() else b""
    if digest(data) != row.data_sha256:
        raise DataError(
            f"{path} is missing or does not match its checksum; 'silri data repair {folder}' "
            "sets it aside"
        )
    return decode_episode(data, row)
