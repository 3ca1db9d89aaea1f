"""Names and versions of a dataset folder: where things lie, and which format they have."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq

# Of what silri adds to LeRobot's format; 1 had no ``silri_format`` and no ``origin``, 2 had NaN
# where nobody drove or nothing was reported, and statistics of a few columns only.
SILRI_FORMAT = 3
CODEBASE_VERSION = "v3.0"
FILES_PER_CHUNK = 1000  # LeRobot's; more would also break its sorting by file name
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
ROW_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
INFO_PATH, STATS_PATH, TASKS_PATH = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"


def file_path(pattern: str, index: int) -> str:
    """Where episode ``index`` lives, relative to the dataset."""
    chunk, file = divmod(index, FILES_PER_CHUNK)
    return pattern.format(chunk_index=chunk, file_index=file)


def parquet_bytes(table: pa.Table) -> bytes:
    """A parquet file of one row group."""
    buffer = io.BytesIO()
    # Floats hardly compress or repeat; without dictionaries and statistics a commit is twice
    # as fast, and any parquet reader reads it all the same.
    pq.write_table(table, buffer, use_dictionary=False, write_statistics=False)
    return buffer.getvalue()
