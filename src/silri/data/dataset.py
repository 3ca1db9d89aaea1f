"""Reading a dataset that somebody else may be using: no lock, no repair, every checksum checked."""

from __future__ import annotations

from pathlib import Path

from silri.core.errors import DataError
from silri.core.specs import EnvSpec
from silri.data.episode import Episode, check_episode
from silri.data.info import silri_format
from silri.data.layout import DATA_PATH, ROW_PATH, file_path
from silri.data.lerobot import decode_episode
from silri.data.rows import decode_row
from silri.data.sealed import digest


def read_dataset(folder: Path, spec: EnvSpec | None = None) -> list[Episode]:
    """Every episode of a dataset that silri recorded, in order.

    Args:
        folder: the dataset (``runs/NAME/episodes``, or what ``silri record`` wrote).
        spec: check the episodes against it; None reads whatever is there.

    Raises:
        DataError: no dataset there, of a later version, or an episode is damaged.
        SpecError: an episode does not fit ``spec``.
    """
    if not (folder / "meta" / "info.json").is_file():
        raise DataError(f"{folder} is no dataset: it has no meta/info.json")
    silri_format(folder)
    episodes: list[Episode] = []
    while (folder / file_path(ROW_PATH, len(episodes))).exists():
        index = len(episodes)
        name = file_path(ROW_PATH, index)
        row = decode_row((folder / name).read_bytes(), name)
        path = folder / file_path(DATA_PATH, index)
        data = path.read_bytes() if path.exists() else b""
        if digest(data) != row.data_sha256:
            raise DataError(
                f"{path} is missing or does not match its checksum; resume or record into "
                f"{folder} once to set it aside"
            )
        episode = decode_episode(data, row)
        if spec is not None:
            check_episode(episode, spec)
        episodes.append(episode)
    return episodes
