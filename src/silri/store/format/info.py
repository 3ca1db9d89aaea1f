"""``meta/info.json``: what LeRobot needs to know of a dataset, and the version of what we add."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from silri.core.errors import DataError
from silri.core.specs import EnvSpec
from silri.store.format.layout import (
    CODEBASE_VERSION,
    DATA_PATH,
    FILES_PER_CHUNK,
    INFO_PATH,
    SILRI_FORMAT,
)
from silri.store.format.sealed import seal, unseal

# A column that every dataset of ours has had since the first version, and nobody else's has.
_OURS = "complementary_info.policy_version"


def encode_info(
    spec: EnvSpec, *, episodes: int, frames: int, tasks: int, features: Mapping[str, Any]
) -> bytes:
    """The content of ``meta/info.json``."""
    hz = spec.control_hz
    info = {
        "codebase_version": CODEBASE_VERSION,
        "silri_format": SILRI_FORMAT,
        "robot_type": spec.name,
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": tasks,
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": int(hz) if hz == int(hz) else hz,
        "splits": {"train": f"0:{episodes}"},
        "data_path": DATA_PATH,
        "video_path": None,
        "features": features,
    }
    return (json.dumps(seal(info), indent=1) + "\n").encode()


def read_info(folder: Path) -> dict[str, Any] | None:
    """What ``meta/info.json`` says; None if it is missing or no JSON object."""
    try:
        info = json.loads((folder / INFO_PATH).read_bytes())
    except (OSError, ValueError):
        return None
    return info if isinstance(info, dict) else None


def trusted(info: Mapping[str, Any]) -> bool:
    """Whether what we wrote into it is unchanged; the first version could not tell."""
    if info.get("silri_format", 1) == 1:
        return True
    try:
        unseal(info, INFO_PATH)
    except DataError:
        return False
    return True


def info_rate(info: Mapping[str, Any]) -> float | None:
    """Frames per second that a trusted ``meta/info.json`` says; None if it cannot be used."""
    hz = info.get("fps") if trusted(info) else None
    return float(hz) if isinstance(hz, int | float) and 0 < hz < math.inf else None


def silri_format(folder: Path) -> int | None:
    """Which version of our format a folder has; None if nothing there says so.

    Raises:
        DataError: a later version than this code knows; nothing was changed.
    """
    info = read_info(folder)
    if info is None:
        return None
    version = info.get("silri_format", 1 if _OURS in _features(info) else None)
    if type(version) is not int:
        return None
    if version > SILRI_FORMAT:
        raise DataError(
            f"{folder} has silri_format {version} in {INFO_PATH}; this silri knows up to "
            f"{SILRI_FORMAT}: install a newer silri. If none has ever written there, the file is "
            f"damaged: delete {INFO_PATH}, it is rebuilt when the folder is opened"
        )
    return version


def is_foreign(info: Mapping[str, Any]) -> bool:
    """Whether a dataset with this ``info.json`` was recorded by another program."""
    features = _features(info)
    return "silri_format" not in info and bool(features) and _OURS not in features


def recorded_elsewhere(folder: Path) -> bool:
    """Whether the dataset in ``folder`` was recorded by another program.

    Where ``info.json`` is damaged or gone, the first data file that can be read has the answer:
    whoever takes such a dataset for one of ours takes it apart.
    """
    info = read_info(folder)
    if info is not None and ("silri_format" in info or _features(info)):
        return is_foreign(info)
    for path in sorted((folder / "data").glob("chunk-*/*.parquet")):
        try:
            return _OURS not in pq.read_schema(path).names
        except (pa.ArrowException, OSError):
            continue
    return False


def foreign_info(folder: Path) -> Mapping[str, Any] | None:
    """``meta/info.json`` of a dataset that another program recorded; None: silri did.

    Raises:
        DataError: another program did, and its ``info.json`` cannot be read.
    """
    if not recorded_elsewhere(folder):
        return None
    info = read_info(folder)
    if info is None:
        raise DataError(
            f"{folder / INFO_PATH} is missing or no JSON object, and another program recorded the "
            "dataset: copy or download it again"
        )
    return info


def refuse_foreign(folder: Path) -> None:
    """Protect a dataset of another program: to the store, each of its episodes looks damaged.

    Raises:
        DataError: ``folder`` holds a dataset that silri did not record.
    """
    if recorded_elsewhere(folder):
        raise DataError(
            f"{folder} holds a dataset that silri did not record (no silri_format in {INFO_PATH}, "
            f"no column {_OURS}); it is not changed. Record into another folder, or read this one "
            "as demonstrations with --data.dataset"
        )


def _features(info: Mapping[str, Any]) -> Mapping[str, Any]:
    features = info.get("features")
    return features if isinstance(features, dict) else {}
