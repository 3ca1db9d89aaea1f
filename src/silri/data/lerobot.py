"""An episode as the files of a LeRobotDataset v3: pure functions between values and bytes.

What v3 has no place for goes where its own readers ignore it: an episode's row carries the final
observation, seed, operator and checksums; ``complementary_info.*`` columns carry the rest of a
frame. A vector (n,) is a fixed-size list, anything with one element a plain value, and more
dimensions are flattened with the true shape in the field's metadata. Images are PNG.
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
from silri.data.images import IMAGE_TYPE, decode_images, encode_images, image_column, is_image
from silri.data.layout import parquet_bytes
from silri.data.rows import EpisodeRow
from silri.data.sealed import digest

_OBSERVATION = "observation."
_DIAGNOSTIC = "complementary_info.diagnostics."
_EXTRA = "complementary_info.extras."
_FRAMES = {  # column of an Episode -> column of the file
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
        diagnostics: names that get a column in every file, NaN where the episode has none, since
            LeRobot's loader returns None for a column that only some files have.

    Raises:
        SpecError: if two diagnostics differ in ``/`` and ``.`` only.
    """
    steps = len(episode)
    frame = np.arange(steps, dtype=np.int64)
    done = episode.frames["terminated"] | episode.frames["truncated"]
    columns: dict[str, np.ndarray] = {
        _OBSERVATION + key: value[:-1] for key, value in episode.observations.items()
    }
    columns |= {_FRAMES[name]: value for name, value in episode.frames.items()}
    columns |= {
        "next.done": done,
        "next.success": (frame == steps - 1) & episode.success,
        "intervention": episode.frames["is_intervention"],
        "timestamp": (frame / fps).astype(np.float32),
        "frame_index": frame,
        "episode_index": np.full(steps, episode_index, np.int64),
        "index": frame + first_frame,
        "task_index": np.full(steps, task_index, np.int64),
    }
    fields, arrays = [], []
    for name, value in columns.items():
        image = name.startswith(_OBSERVATION) and is_image(_spec_of(value))
        fields.append(_field(name, value, {}, IMAGE_TYPE if image else None))
        arrays.append(image_column(encode_images(value)) if image else _array(value))
    for name in sorted({*diagnostics, *episode.diagnostics}):
        missing = name not in episode.diagnostics
        value = np.full(steps, np.nan, np.float32) if missing else episode.diagnostics[name]
        fields.append(_field(_named(_DIAGNOSTIC, name), value, {"name": name, "absent": missing}))
        arrays.append(_array(value))
    for name, value in episode.extras.items():
        fields.append(_field(_named(_EXTRA, name), value, {"name": name}))
        arrays.append(_array(value))
    names = [field.name for field in fields]
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise SpecError(f"two columns of an episode have the same name: {twice}; rename one")
    header = {
        "episode_id": episode.episode_id,
        "steps": steps,
        "is_demo": episode.is_demo,
        "origin": episode.origin,
    }
    schema = pa.schema(fields, {"silri": json.dumps(header)})
    return parquet_bytes(pa.Table.from_arrays(arrays, schema=schema))


def decode_episode(data: bytes, row: EpisodeRow) -> Episode:
    """The episode of a data file whose checksum holds, bit for bit what was encoded."""
    table = pq.read_table(pa.BufferReader(data), use_threads=False)
    columns: dict[str, np.ndarray] = {}
    diagnostics: dict[str, np.ndarray] = {}
    extras: dict[str, np.ndarray] = {}
    for field, column in zip(table.schema, table.columns, strict=True):
        meta = _metadata(field)
        if meta.get("absent"):
            continue
        if field.type == IMAGE_TYPE:
            encoded = column.combine_chunks().field("bytes").to_pylist()
            value = decode_images(encoded, tuple(meta["shape"]), field.name)
        else:
            value = _values(column, (row.steps, *meta["shape"]))
        if field.name.startswith(_DIAGNOSTIC):
            diagnostics[meta["name"]] = value
        elif field.name.startswith(_EXTRA):
            extras[meta["name"]] = value
        else:
            columns[field.name] = value
    final = {key: value[None] for key, value in row.final_observation.items()}
    for key, png in row.final_images.items():
        shape = columns[_OBSERVATION + key].shape[1:]
        final[key] = decode_images([png], shape, f"final_{_OBSERVATION}{key}")
    observations = {
        key: np.concatenate([columns[_OBSERVATION + key], final[key]]) for key in row.keys
    }
    return Episode(
        episode_id=row.episode_id,
        observations=observations,
        frames={name: columns[column] for name, column in _FRAMES.items()},
        diagnostics=diagnostics,
        success=row.success,
        is_demo=row.is_demo,
        seed=row.seed,
        task=row.task,
        operator=row.operator,
        extras=extras,
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
        final_observation={key: value[0] for key, value in final.items() if key not in images},
        stats=stats,
        origin=episode.origin,
        final_images={key: encode_images(final[key])[0] for key in sorted(images)},
    )


def peek(data: bytes | Path) -> tuple[pa.Schema | None, dict[str, Any]]:
    """Schema and header (episode_id, steps, is_demo, origin) of a data file; None, {} if none."""
    try:
        schema = pq.read_schema(data if isinstance(data, Path) else pa.BufferReader(data))
        return schema, dict(json.loads(schema.metadata[b"silri"]))
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError):
        return None, {}


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


def _values(column: pa.ChunkedArray, shape: tuple[int, ...]) -> np.ndarray:
    flat = column.combine_chunks()
    if pa.types.is_fixed_size_list(flat.type):
        flat = flat.flatten()
    values: np.ndarray = flat.to_numpy(zero_copy_only=False)
    return values.reshape(shape).copy()  # what arrow hands out is read-only
