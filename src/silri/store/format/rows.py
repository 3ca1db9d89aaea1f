"""A row of ``meta/episodes`` and the table of tasks, as parquet files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from silri.core.errors import DataError
from silri.store.format.layout import FILES_PER_CHUNK, parquet_bytes
from silri.store.format.sealed import digest, seal, unseal

_FINAL = "final_observation."


@dataclass(frozen=True)
class EpisodeRow:
    """One row of ``meta/episodes``: an episode without its frames.

    Attributes:
        episode_index: place in the dataset, consecutive over what is stored.
        episode_id: number in the run, consecutive over stored and quarantined episodes.
        steps: frames.
        first_frame: frames in all episodes before.
        task_index, task, success, is_demo, seed, operator: see :class:`Episode`.
        data_sha256: of the data file.
        next_sha256: of the data file that is about to replace it; "" if none is. Either makes the
            episode count: that is how a file is brought to another format in place.
        final_observation: key to (*shape), of vectors.
        final_images: key to the PNG file of the last image.
        stats: ``column/statistic`` to numbers, as LeRobot names them: a list, nested for images.
        origin: see :class:`Episode`.
    """

    episode_index: int
    episode_id: int
    steps: int
    first_frame: int
    task_index: int
    task: str
    success: bool
    is_demo: bool
    seed: int
    operator: str
    data_sha256: str
    final_observation: Mapping[str, np.ndarray]
    stats: Mapping[str, Sequence[Any]]
    origin: str = ""
    final_images: Mapping[str, bytes] = field(default_factory=dict)
    next_sha256: str = ""

    def matches(self, data: bytes) -> bool:
        """Whether ``data`` is the data file of this row, to the last bit."""
        return digest(data) in {self.data_sha256, self.next_sha256}

    @property
    def keys(self) -> list[str]:
        """Of the observations."""
        return sorted({*self.final_observation, *self.final_images})


def encode_row(row: EpisodeRow) -> bytes:
    """The ``meta/episodes`` file of one episode."""
    chunk, file = divmod(row.episode_index, FILES_PER_CHUNK)
    record: dict[str, Any] = {
        "episode_index": row.episode_index,
        "tasks": [row.task],
        "length": row.steps,
        "data/chunk_index": chunk,
        "data/file_index": file,
        "dataset_from_index": row.first_frame,
        "dataset_to_index": row.first_frame + row.steps,
        "meta/episodes/chunk_index": chunk,
        "meta/episodes/file_index": file,
        "episode_id": row.episode_id,
        "task_index": row.task_index,
        "success": row.success,
        "is_demo": row.is_demo,
        "seed": row.seed,
        "operator": row.operator,
        "origin": row.origin,
        "data_sha256": row.data_sha256,
        "final_observation_format": json.dumps(
            {key: [str(v.dtype), list(v.shape)] for key, v in row.final_observation.items()}
        ),
    }
    if row.next_sha256:
        record["next_data_sha256"] = row.next_sha256
    for key, value in row.final_observation.items():
        record[_FINAL + key] = value.ravel().tolist()
    for key, png in row.final_images.items():
        record[_FINAL + key] = png
    record |= {f"stats/{name}": list(values) for name, values in row.stats.items()}
    sealed = seal(record)
    return parquet_bytes(pa.Table.from_pydict({name: [value] for name, value in sealed.items()}))


def decode_row(data: bytes, where: str) -> EpisodeRow:
    """The inverse of :func:`encode_row`.

    Raises:
        DataError: if the file is no parquet or its checksum does not hold; names ``where``.
    """
    try:
        records = pq.read_table(pa.BufferReader(data), use_threads=False).to_pylist()
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        raise DataError(f"{where} is no readable parquet file: {error}") from None
    if len(records) != 1:
        raise DataError(f"{where} has {len(records)} rows; it must have 1")
    record = unseal(records[0], where)
    formats = json.loads(record["final_observation_format"])
    return EpisodeRow(
        episode_index=record["episode_index"],
        episode_id=record["episode_id"],
        steps=record["length"],
        first_frame=record["dataset_from_index"],
        task_index=record["task_index"],
        task=record["tasks"][0],
        success=record["success"],
        is_demo=record["is_demo"],
        seed=record["seed"],
        operator=record["operator"],
        data_sha256=record["data_sha256"],
        final_observation={
            key: np.asarray(record[_FINAL + key], dtype).reshape(shape)
            for key, (dtype, shape) in formats.items()
        },
        final_images={
            name.removeprefix(_FINAL): value
            for name, value in record.items()
            if name.startswith(_FINAL) and isinstance(value, bytes)
        },
        stats={
            name.removeprefix("stats/"): values
            for name, values in record.items()
            if name.startswith("stats/")
        },
        origin=record.get("origin", ""),  # silri_format 1 had none
        next_sha256=record.get("next_data_sha256", ""),
    )


def lacks_origin(data: bytes) -> bool:
    """Whether a readable row file is of silri_format 1."""
    return "origin" not in pq.read_schema(pa.BufferReader(data)).names


def encode_tasks(tasks: Sequence[str]) -> bytes:
    """``meta/tasks.parquet``: a pandas frame whose index is the task's text."""
    index = "__index_level_0__"
    kinds = (("task_index", "int64", "int64"), (index, "unicode", "object"))
    pandas = {  # what pandas needs to find its index again; written by hand to spare pandas
        "index_columns": [index],
        "column_indexes": [],
        "columns": [
            {"name": None if name == index else name, "field_name": name}
            | {"pandas_type": kind, "numpy_type": dtype, "metadata": None}
            for name, kind, dtype in kinds
        ],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.0.0",
    }
    table = pa.table(
        {"task_index": pa.array(range(len(tasks)), pa.int64()), index: pa.array(tasks, pa.string())}
    )
    return parquet_bytes(table.replace_schema_metadata({"pandas": json.dumps(pandas)}))
