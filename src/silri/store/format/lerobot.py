"""An episode as the files of a LeRobotDataset v3: pure functions between values and bytes.

What v3 has no place for goes where its own readers ignore it: an episode's row carries the final
observation, seed, operator and checksums; ``complementary_info.*`` columns carry the rest of a
frame. A vector (n,) is a fixed-size list, anything with one element a plain value, and more
dimensions are flattened with the true shape in the field's metadata. Images are PNG.
A text is no column: it is the same in all frames of an episode, whose row has it; an instruction is
the episode's task, so that LeRobot has it with every frame.

No frame has a NaN where that only says that nothing was said. ``human_action`` has the executed
action where nobody drove (``is_intervention`` is False and ``human_weight`` 0 there), a diagnostic
0 where the agent reported none. The field's metadata says which frames these are, and
:func:`decode_episode` gives them their NaN again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from silri.core.errors import SpecError
from silri.core.specs import ArraySpec
from silri.data.episode import Episode
from silri.store.format.images import (
    IMAGE_TYPE,
    decode_images,
    encode_images,
    image_column,
    is_image,
)
from silri.store.format.layout import SILRI_FORMAT, parquet_bytes
from silri.store.format.rows import EpisodeRow
from silri.store.format.sealed import digest

_OBSERVATION = "observation."
_DIAGNOSTIC = "complementary_info.diagnostics."
_HUMAN = "complementary_info.human_action"
_NAN = np.float32(np.nan)
FRAME_COLUMNS = {  # column of an Episode -> column of the file
    "action": "action",
    "reward": "next.reward",
    "truncated": "next.truncated",
    "terminated": "complementary_info.terminated",
    "is_intervention": "complementary_info.is_intervention",
    "policy_action": "complementary_info.policy_action",
    "human_action": "complementary_info.human_action",
    "human_weight": "complementary_info.human_weight",
    "grasp_penalty": "complementary_info.grasp_penalty",
    "policy_version": "complementary_info.policy_version",
}


def encode_frames(
    episode: Episode,
    *,
    episode_index: int,
    first_frame: int,
    task_index: int,
    fps: float,
    diagnostics: Iterable[str] = (),
) -> bytes:
    """The data file of ``episode``.

    Args:
        episode: any, finite or not.
        episode_index: place in the dataset.
        first_frame: frames in all episodes before.
        task_index: of the episode's task in ``meta/tasks.parquet``.
        fps: decisions per second, for ``timestamp``.
        diagnostics: names that get a column in every file, 0 where the episode has none, since
            LeRobot's loader returns None for a column that only some files have.

    Raises:
        SpecError: if two diagnostics differ in ``/`` and ``.`` only.
    """
    steps = len(episode)
    done = episode.frames["terminated"] | episode.frames["truncated"]
    columns: dict[str, np.ndarray] = {
        _OBSERVATION + k: v[:-1] for k, v in episode.observations.items() if v.dtype.kind != "U"
    }
    columns |= {FRAME_COLUMNS[name]: value for name, value in episode.frames.items()}
    columns |= {
        "next.done": done,
        "next.success": (np.arange(steps) == steps - 1) & episode.success,
        "intervention": episode.frames["is_intervention"],
    }
    columns |= _places(steps, episode_index, first_frame, task_index, fps)
    fields, arrays = [], []
    for name, value in columns.items():
        image = name.startswith(_OBSERVATION) and is_image(_spec_of(value))
        meta: dict[str, Any] = {}
        if name == _HUMAN:
            value, meta = _settled(value, columns["action"])
        fields.append(_field(name, value, meta, IMAGE_TYPE if image else None))
        arrays.append(image_column(encode_images(value)) if image else _array(value))
    for name in sorted({*diagnostics, *episode.diagnostics}):
        field, array = _diagnostic(name, episode.diagnostics.get(name), steps)
        fields.append(field)
        arrays.append(array)
    return _data_file(fields, arrays, episode)


def move_frames(data: bytes, row: EpisodeRow, fps: float, diagnostics: Iterable[str] = ()) -> bytes:
    """A data file at the place that ``row`` says, images as they are.

    Bit for bit what :func:`encode_frames` makes of the decoded episode.

    Args:
        data: a data file; any place in any dataset.
        row: with the new ``episode_id``, ``episode_index``, ``first_frame`` and ``task_index``.
        fps: see :func:`encode_frames`.
        diagnostics: likewise.

    Raises:
        SpecError: likewise.
    """
    table = pq.read_table(pa.BufferReader(data), use_threads=False)
    places = _places(row.steps, row.episode_index, row.first_frame, row.task_index, fps)
    columns: dict[str, tuple[pa.Field, pa.Array]] = {}
    said: dict[str, tuple[pa.Field, pa.Array]] = {}  # diagnostics
    for old, column in zip(table.schema, table.columns, strict=True):
        if old.name == _HUMAN:
            value = _restored(old, column_values(old, column, row.steps))
            columns[old.name] = _human(value, table)
            continue
        if old.name.startswith(_DIAGNOSTIC):
            name, value = _metadata(old)["name"], column_values(old, column, row.steps)
            if not _metadata(old)["absent"]:
                said[name] = _diagnostic(name, _restored(old, value), row.steps)
            continue
        meta = {"silri": json.dumps(_metadata(old))}
        array = column.combine_chunks()
        if pa.types.is_fixed_size_list(array.type):  # as it was written: parquet renames its items
            array = pa.FixedSizeListArray.from_arrays(array.flatten(), array.type.list_size)
        field = pa.field(old.name, array.type, metadata=meta)
        if old.name in places:
            columns[old.name] = (field, _array(places[old.name]))
        else:
            columns[old.name] = (field, array)
    for name in {*diagnostics} - said.keys():
        said[name] = _diagnostic(name, None, row.steps)
    pairs = [*columns.values(), *(said[name] for name in sorted(said))]
    return _data_file([field for field, _ in pairs], [array for _, array in pairs], row)


def _places(
    steps: int, episode_index: int, first_frame: int, task_index: int, fps: float
) -> dict[str, np.ndarray]:
    """The columns that say where in a dataset an episode is, and when its frames were."""
    frame = np.arange(steps, dtype=np.int64)
    return {
        "timestamp": (frame / fps).astype(np.float32),
        "frame_index": frame,
        "episode_index": np.full(steps, episode_index, np.int64),
        "index": frame + first_frame,
        "task_index": np.full(steps, task_index, np.int64),
    }


def _diagnostic(name: str, value: np.ndarray | None, steps: int) -> tuple[pa.Field, pa.Array]:
    """The column of a diagnostic; 0, and marked as absent, without a value."""
    zeros = np.zeros(steps, np.float32)
    column, unset = (zeros, {}) if value is None else _settled(value, zeros)
    meta = {"name": name, "absent": value is None, **unset}
    return _field(_named(_DIAGNOSTIC, name), column, meta), _array(column)


def _human(value: np.ndarray, table: pa.Table) -> tuple[pa.Field, pa.Array]:
    """The column of a person's actions in ``table``."""
    action = column_values(table.schema.field("action"), table["action"], len(value))
    column, meta = _settled(value, action)
    return _field(_HUMAN, column, meta), _array(column)


def _settled(value: np.ndarray, instead: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """``value`` with ``instead`` in the rows that say nothing, and the metadata that tells which.

    A row says nothing if all of it is numpy's own NaN; any other NaN is a fault that stays to be
    seen.
    """
    bits = np.ascontiguousarray(value, np.float32).view(np.uint32).reshape(len(value), -1)
    rows = (bits == _NAN.view(np.uint32)).all(axis=1)
    if not rows.any():
        return value, {}
    edges = np.flatnonzero(np.diff(rows, prepend=False, append=False)).reshape(-1, 2)
    column = value.copy()
    column[rows] = instead[rows]
    return column, {"unset": edges.tolist()}


def _restored(field: pa.Field, value: np.ndarray) -> np.ndarray:
    """``value`` with NaN in the rows that say nothing."""
    for first, end in _metadata(field).get("unset", ()):
        value[first:end] = _NAN
    return value


def _data_file(
    fields: list[pa.Field], arrays: list[pa.Array], episode: Episode | EpisodeRow
) -> bytes:
    names = [field.name for field in fields]
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise SpecError(f"two columns of an episode have the same name: {twice}; rename one")
    header = {
        "episode_id": episode.episode_id,
        "steps": len(arrays[0]),
        "is_demo": episode.is_demo,
        "origin": episode.origin,
        "silri_format": SILRI_FORMAT,
    }
    schema = pa.schema(fields, {"silri": json.dumps(header)})
    return parquet_bytes(pa.Table.from_arrays(arrays, schema=schema))


def encoded_images(data: bytes) -> dict[str, list[bytes]]:
    """Key to the T image files of every camera in a data file."""
    source = pa.BufferReader(data)
    schema = pq.read_schema(source)
    names = [field.name for field in schema if field.type == IMAGE_TYPE]
    table = pq.read_table(source, columns=names, use_threads=False)
    return {
        name.removeprefix(_OBSERVATION): table[name].combine_chunks().field("bytes").to_pylist()
        for name in names
    }


def decode_episode(data: bytes, row: EpisodeRow, *, images: bool = True) -> Episode:
    """The episode of a data file whose checksum holds, bit for bit what was encoded.

    Args:
        data: the data file.
        row: what goes with it.
        images: False leaves all images out.
    """
    table = pq.read_table(pa.BufferReader(data), use_threads=False)
    columns: dict[str, np.ndarray] = {}
    diagnostics: dict[str, np.ndarray] = {}
    for field, column in zip(table.schema, table.columns, strict=True):
        meta = _metadata(field)
        if meta.get("absent"):
            continue
        if field.type == IMAGE_TYPE and not images:
            continue
        if field.type == IMAGE_TYPE:
            encoded = column.combine_chunks().field("bytes").to_pylist()
            value = decode_images(encoded, tuple(meta["shape"]), field.name)
        else:
            value = _restored(field, column_values(field, column, row.steps))
        if field.name.startswith(_DIAGNOSTIC):
            diagnostics[meta["name"]] = value
        else:
            columns[field.name] = value
    final = {key: value[None] for key, value in row.final_observation.items()}
    texts = (key for key, value in final.items() if value.dtype.kind == "U")
    columns |= {_OBSERVATION + key: np.repeat(final[key], row.steps) for key in texts}
    for key, png in row.final_images.items() if images else ():
        shape = columns[_OBSERVATION + key].shape[1:]
        final[key] = decode_images([png], shape, f"final_{_OBSERVATION}{key}")
    observations = {
        key: np.concatenate([columns[_OBSERVATION + key], final[key]]) for key in sorted(final)
    }
    return Episode(
        episode_id=row.episode_id,
        observations=observations,
        frames={name: columns[column] for name, column in FRAME_COLUMNS.items()},
        diagnostics=diagnostics,
        success=row.success,
        is_demo=row.is_demo,
        seed=row.seed,
        task=row.task,
        operator=row.operator,
        origin=row.origin,
    )


def episode_row(
    episode: Episode,
    frames: bytes,
    stats: Mapping[str, Sequence[Any]],
    *,
    episode_index: int = 0,
    first_frame: int = 0,
    task_index: int = 0,
) -> EpisodeRow:
    """The row that goes with ``frames``, the data file of ``episode``."""
    final = {key: rows[-1:] for key, rows in episode.observations.items()}
    images = {key for key, value in final.items() if is_image(_spec_of(value))}
    return EpisodeRow(
        episode_index=episode_index,
        episode_id=episode.episode_id,
        steps=len(episode),
        first_frame=first_frame,
        task_index=task_index,
        task=episode.task,
        success=episode.success,
        is_demo=episode.is_demo,
        seed=episode.seed,
        operator=episode.operator,
        data_sha256=digest(frames),
        final_observation={key: value[0, ...] for key, value in final.items() if key not in images},
        stats=stats,
        origin=episode.origin,
        final_images={key: encode_images(final[key])[0] for key in sorted(images)},
    )


def peek(data: bytes | Path) -> tuple[pa.Schema | None, dict[str, Any]]:
    """Schema and header of a data file; None, {} if none.

    The header has episode_id, steps, is_demo, origin and, since format 3, silri_format.
    """
    try:
        schema = pq.read_schema(data if isinstance(data, Path) else pa.BufferReader(data))
        return schema, dict(json.loads(schema.metadata[b"silri"]))
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError):
        return None, {}


def frame_rate(data: bytes) -> float | None:
    """Frames per second, from the times of a data file; None if it has one frame."""
    times = pq.read_table(pa.BufferReader(data), columns=["timestamp"])["timestamp"].to_numpy()
    # A time is a float32, good for seven digits.
    return round(1 / float(times[1]), 4) if len(times) > 1 else None


def feature_table(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """The ``features`` of ``info.json`` that a data file has."""
    features: dict[str, dict[str, Any]] = {}
    for field in schema:
        if field.type == IMAGE_TYPE:
            shape = _metadata(field)["shape"]
            names = ["height", "width", "channels"]
            features[field.name] = {"dtype": "image", "shape": shape, "names": names}
            continue
        fixed = pa.types.is_fixed_size_list(field.type)
        dtype = field.type.value_type if fixed else field.type
        features[field.name] = {
            "dtype": np.dtype(dtype.to_pandas_dtype()).name,
            "shape": [field.type.list_size if fixed else 1],
            "names": None,
        }
    return features


def shape_of(field: pa.Field) -> ArraySpec:
    """Shape and dtype of a column of a data file, per frame."""
    kind = field.type.value_type if pa.types.is_fixed_size_list(field.type) else field.type
    dtype = "uint8" if kind == IMAGE_TYPE else np.dtype(kind.to_pandas_dtype()).name
    return ArraySpec(tuple(_metadata(field)["shape"]), dtype)


def diagnostics_of(schema: pa.Schema) -> set[str]:
    """Names of the diagnostics that a data file has a column for."""
    return {_metadata(field)["name"] for field in schema if field.name.startswith(_DIAGNOSTIC)}


def _named(prefix: str, name: str) -> str:
    return prefix + name.replace("/", ".")  # LeRobot refuses a slash in a feature's name


def _spec_of(value: np.ndarray) -> ArraySpec:
    return ArraySpec(value.shape[1:], value.dtype.name)


def _field(
    name: str, value: np.ndarray, meta: dict[str, Any], kind: pa.DataType | None = None
) -> pa.Field:
    width = int(np.prod(value.shape[1:], dtype=np.int64))
    if kind is None:
        kind = pa.from_numpy_dtype(value.dtype)
        kind = kind if width == 1 else pa.list_(kind, width)
    return pa.field(name, kind, metadata={"silri": json.dumps({"shape": value.shape[1:], **meta})})


def _metadata(field: pa.Field) -> dict[str, Any]:
    return dict(json.loads((field.metadata or {}).get(b"silri", b'{"shape": []}')))


def _array(value: np.ndarray) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(value).reshape(-1))
    width = int(np.prod(value.shape[1:], dtype=np.int64))
    return flat if width == 1 else pa.FixedSizeListArray.from_arrays(flat, width)


def column_values(field: pa.Field, column: pa.ChunkedArray, steps: int) -> np.ndarray:
    """A column that is not images, (steps, ...), as it is in the file."""
    shape = (steps, *_metadata(field)["shape"])
    flat = column.combine_chunks()
    if pa.types.is_fixed_size_list(flat.type):
        flat = flat.flatten()
    values: np.ndarray = flat.to_numpy(zero_copy_only=False)
    return values.reshape(shape).copy()  # what arrow hands out is read-only
