"""Statistics of the columns that a data file has, from the file itself: every one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from silri.data.episode import Episode
from silri.data.statistics import column_statistics
from silri.store.format.images import IMAGE_TYPE
from silri.store.format.lerobot import column_values

Stats = Mapping[str, Sequence[Any]]  # ``column/statistic`` to numbers, as LeRobot names them


def table_statistics(table: pa.Table) -> dict[str, list[Any]]:
    """Of every column of a data file's table that is not images."""
    columns = {
        field.name: column_values(field, column, table.num_rows)
        for field, column in zip(table.schema, table.columns, strict=True)
        if field.type != IMAGE_TYPE
    }
    return column_statistics(columns)


def frame_statistics(frames: bytes, images: Stats) -> dict[str, list[Any]]:
    """Of every column of a data file.

    Args:
        frames: the data file.
        images: statistics of its columns of images, which are not decoded here; those of other
            columns are ignored.
    """
    schema = pq.read_schema(pa.BufferReader(frames))
    names = [field.name for field in schema if field.type != IMAGE_TYPE]
    pictures = {field.name for field in schema} - set(names)
    table = pq.read_table(pa.BufferReader(frames), columns=names, use_threads=False)
    kept = {k: list(images[k]) for k in sorted(images) if k.rpartition("/")[0] in pictures}
    return table_statistics(table) | kept


def image_statistics(episode: Episode) -> dict[str, list[Any]]:
    """Of an episode's cameras, by the names of their columns."""
    columns = {
        f"observation.{key}": rows[:-1]
        for key, rows in episode.observations.items()
        if rows.dtype == np.uint8 and rows.ndim == 4
    }
    return column_statistics(columns)
