"""Looking at a dataset without its environment, and without changing or locking it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from silri.core.errors import DataError, SpecError
from silri.core.specs import UNKNOWN_HZ, ActionSpec, ArraySpec, EnvSpec
from silri.store.dataset import iterate_dataset
from silri.store.format.derived import Derived
from silri.store.format.info import (
    foreign_info,
    info_rate,
    read_info,
    recorded_elsewhere,
    silri_format,
    trusted,
)
from silri.store.format.layout import DATA_PATH, INFO_PATH, SILRI_FORMAT, file_path
from silri.store.format.lerobot import decode_episode, diagnostics_of, frame_rate, shape_of
from silri.store.format.rows import encode_row, lacks_origin
from silri.store.safety.quarantine import Quarantined, read_quarantine
from silri.store.safety.recovery import Found, scan
from silri.store.tools.foreign import feature_shape

_FLAG = "intervention"
_TEMPORARY = "*.tmp"


@dataclass(frozen=True)
class Place:
    """Where a dataset and what was set aside from it are.

    Attributes:
        episodes: the dataset.
        quarantine: may be missing.
    """

    episodes: Path
    quarantine: Path

    @classmethod
    def of(cls, path: Path) -> Place:
        """The dataset at ``path``: a dataset folder or a run folder.

        Raises:
            DataError: neither.
        """
        if (path / "episodes").is_dir() and not (path / "meta").is_dir():
            return cls(path / "episodes", path / "quarantine")
        if not (path / "meta").is_dir():
            raise DataError(f"{path} holds no dataset: neither {path / 'meta'} nor episodes/ in it")
        beside = path.parent / "quarantine"
        if path.name == "episodes" and ((path.parent / "config.json").exists() or beside.is_dir()):
            return cls(path, beside)
        return cls(path, path.with_name(path.name + ".quarantine"))


@dataclass(frozen=True)
class Summary:
    """One episode in a table.

    Attributes:
        index: place in the dataset.
        episode_id: number in its run.
        steps: frames.
        success, is_demo, task, operator, origin: see :class:`~silri.data.episode.Episode`.
        total_reward: undiscounted.
        intervention_rate: share of frames in which a person acted; NaN if unreadable.
    """

    index: int
    episode_id: int
    steps: int
    success: bool
    is_demo: bool
    task: str
    operator: str
    origin: str
    total_reward: float
    intervention_rate: float


def summaries(place: Place) -> Iterator[Summary]:
    """Every episode that can be read, in order; images are not decoded.

    Raises:
        DataError: a later version of the dataset, or another program's is damaged.
    """
    silri_format(place.episodes)
    if recorded_elsewhere(place.episodes):
        spec, _ = stored_spec(place)
        blind = EnvSpec(spec.name, {}, spec.action, spec.max_episode_steps)
        for episode in iterate_dataset(place.episodes, blind, demonstrations=False):
            stats = episode.stats()
            yield Summary(
                *(episode.episode_id, episode.episode_id, len(episode), episode.success),
                *(False, episode.task, episode.operator, ""),
                *(stats["return"], stats["intervention_rate"]),
            )
        return
    for found in scan(place.episodes):
        row = found.row
        if row is None or found.problem is not None or found.data is None:
            continue
        flags = pq.read_table(pa.BufferReader(found.data), columns=[_FLAG])[_FLAG]
        yield Summary(
            *(found.index, row.episode_id, row.steps, row.success, row.is_demo),
            *(row.task, row.operator, row.origin),
            float(row.stats["next.reward/mean"][0]) * row.steps,
            float(np.mean(flags.to_numpy())),
        )


def set_aside(place: Place) -> list[Quarantined]:
    """What is in quarantine, by number."""
    entries = [entry for entry, _ in read_quarantine(place.quarantine) if entry is not None]
    return sorted(entries, key=lambda entry: entry.episode_id)


def problems(place: Place) -> list[str]:
    """Everything that is wrong in a dataset, one line each; nothing is locked or changed.

    A dataset that is being written at this moment looks wrong for a moment: only what is still
    wrong at a second look is told.

    Raises:
        DataError: no dataset, or of a later version.
    """
    first = _problems(place)
    if not first:
        return []
    second = set(_problems(place))
    return [problem for problem in first if problem in second]


def stored_spec(place: Place, *, empty: bool = False) -> tuple[EnvSpec, tuple[str, ...]]:
    """What the episodes of a dataset look like, and the names of their diagnostics.

    The grippers and the time limit of the environment are not written there; the longest episode
    stands for the limit.

    Args:
        place: the dataset.
        empty: one without a readable episode is fine, and has no observation.

    Raises:
        DataError: no dataset, or none of its episodes can be read.
    """
    silri_format(place.episodes)
    foreign = foreign_info(place.episodes)
    info = foreign or read_info(place.episodes) or {}
    hz, name = info_rate(info), info.get("robot_type") if trusted(info) else None
    name = name if isinstance(name, str) else "unknown"
    arrays: dict[str, ArraySpec] = {}
    diagnostics: set[str] = set()
    longest = 1
    if foreign is not None:
        arrays = _foreign_arrays(place, foreign)
    else:
        for found in scan(place.episodes):
            if found.problem is None and found.data is not None and found.row is not None:
                schema = pq.read_schema(pa.BufferReader(found.data))
                arrays = {field.name: shape_of(field) for field in schema}
                arrays |= {
                    f"observation.{key}": ArraySpec(value.shape, str(value.dtype))
                    for key, value in found.row.final_observation.items()
                    if value.dtype.kind == "U"  # a text has no column
                }
                diagnostics |= diagnostics_of(schema)
                longest = max(longest, found.row.steps)
                hz = hz or frame_rate(found.data)
    if "action" not in arrays and empty:
        return EnvSpec(name, {}, ActionSpec(1), longest, hz or UNKNOWN_HZ), ()
    if "action" not in arrays:
        raise DataError(f"{place.episodes} has no episode that can be read")
    observation = {
        name.removeprefix("observation."): array
        for name, array in arrays.items()
        if name.startswith("observation.")
    }
    action = ActionSpec(arrays["action"].shape[0])
    return EnvSpec(name, observation, action, longest, hz or UNKNOWN_HZ), tuple(sorted(diagnostics))


def _foreign_arrays(place: Place, info: Mapping[str, Any]) -> dict[str, ArraySpec]:
    arrays = {}
    features = info.get("features")
    if not isinstance(features, dict):
        raise DataError(f"{place.episodes / INFO_PATH} lacks 'features': copy the dataset again")
    for name, feature in features.items():
        if name == "action" or name.startswith("observation."):
            shape = feature_shape(place.episodes, name, feature)
            image = feature["dtype"] in ("image", "video")
            arrays[name] = ArraySpec(shape, "uint8" if image else "float32")
    return arrays


def _problems(place: Place) -> list[str]:
    silri_format(place.episodes)
    if recorded_elsewhere(place.episodes):
        try:
            for _ in iterate_dataset(place.episodes):
                pass
        except (DataError, SpecError) as error:
            return [str(error)]
        return []
    found_problems = [
        f"{path.relative_to(place.episodes)}: an unfinished write"
        for path in sorted(place.episodes.rglob(_TEMPORARY))
    ]
    derived = Derived()
    before: Found | None = None
    numbers: set[int] = set()
    for found in scan(place.episodes):
        problem = _problem(found, before, numbers)
        before = found
        if problem is not None:
            found_problems.append(f"episode {found.index}: {problem}")
        if found.problem is None and found.row is not None:
            numbers.add(found.row.episode_id)
            derived.add(found.row, place.episodes / file_path(DATA_PATH, found.index))
    if not found_problems and numbers:
        spec, _ = stored_spec(place)
        # Opening brings an older one up to date.
        old = (silri_format(place.episodes) or SILRI_FORMAT) < SILRI_FORMAT
        for name, content in derived.everything(spec):
            path = place.episodes / name
            if old and name == INFO_PATH:
                continue
            if not path.exists() or path.read_bytes() != content:
                found_problems.append(f"{name} does not fit the stored episodes")
    found_problems += [text for _, text in read_quarantine(place.quarantine) if text is not None]
    return found_problems


def _problem(found: Found, before: Found | None, numbers: set[int]) -> str | None:
    row = found.row
    if found.problem is not None or row is None or found.data is None:
        return found.problem or "unreadable"
    last = before.row if before is not None and before.problem is None else None
    frames = row.first_frame if before is not None else 0
    frames = last.first_frame + last.steps if last is not None else frames
    if found.index != (before.index + 1 if before is not None else 0) or row.first_frame != frames:
        return "does not follow the one before: an episode is missing"
    if row.episode_id in numbers:
        return f"has the number {row.episode_id} of an earlier one"
    # A row of the first version has its seal too, but would be written otherwise today.
    old = found.row_file is not None and lacks_origin(found.row_file)
    if not old and found.row_file != encode_row(row):
        return "its row in meta/episodes has damaged bytes, or is of another pyarrow"
    try:
        decode_episode(found.data, row)
    except (DataError, KeyError, ValueError) as error:
        return f"cannot be decoded: {error!r}"
    return None
