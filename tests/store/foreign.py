"""Datasets as ``lerobot`` 0.4.4 writes them: several episodes per file, nothing of ours."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

LENGTHS = (4, 6, 5)
SIDE = 16


def picture(episode: int, step: int) -> np.ndarray:
    """(16, 16, 3), smooth enough for a video."""
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.stack([x * 8 + 10 * step, y * 8 + 20 * episode, x + y], -1).astype(np.uint8)


def columns(*, image: str | None = None, reward: bool = True) -> dict[str, np.ndarray]:
    """(N, ...) of every feature; rows of all episodes."""
    steps = np.concatenate([np.arange(length) for length in LENGTHS])
    episodes = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    last = steps == np.repeat(LENGTHS, LENGTHS) - 1
    made: dict[str, np.ndarray] = {
        "observation.state": np.stack([episodes, steps, 0.5 + 0 * steps], -1).astype(np.float64),
        "observation.environment_state": steps[:, None].astype(np.float32),
        "action": np.stack([np.sin(steps), np.cos(episodes)], -1).astype(np.float32),
    }
    if reward:
        made["next.reward"] = last.astype(np.float32)
        made["next.done"] = last
    if image is not None:
        made["observation.images.front"] = np.stack(
            [picture(e, s) for e, s in zip(episodes, steps, strict=True)]
        )
    return made


def write_lerobot(
    folder: Path,
    made: dict[str, np.ndarray],
    *,
    image: str | None = None,
    split: int = 2,
    info: dict[str, Any] | None = None,
) -> Path:
    """Write a dataset whose first ``split`` episodes share a file.

    Args:
        folder: does not exist yet.
        made: see :func:`columns`.
        image: how images are kept: ``image``, ``video``.
        split: the other episodes are in a second file.
        info: overrides of ``info.json``.
    """
    episodes = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    steps = np.concatenate([np.arange(length) for length in LENGTHS])
    total = len(steps)
    features = {}
    table: dict[str, pa.Array] = {}
    for name, value in made.items():
        pictures = name.startswith("observation.images.")
        features[name] = {
            "dtype": image if pictures else value.dtype.name,
            "shape": list(value.shape[1:]) or [1],
            "names": ["height", "width", "channels"] if pictures else None,
        }
        if pictures and image == "video":
            _write_video(folder, name, value)
        elif pictures:
            rows = [{"bytes": png(frame), "path": "frame.png"} for frame in value]
            table[name] = pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
        elif value.ndim == 1 or value.shape[1:] == (1,):
            table[name] = pa.array(value.reshape(-1))
        else:
            table[name] = pa.FixedSizeListArray.from_arrays(pa.array(value.ravel()), value.shape[1])
    table |= {
        "timestamp": pa.array((steps / 10).astype(np.float32)),
        "frame_index": pa.array(steps),
        "episode_index": pa.array(episodes),
        "index": pa.array(np.arange(total)),
        "task_index": pa.array(np.zeros(total, np.int64)),
    }
    whole = pa.table(table)
    for file, mask in enumerate((episodes < split, episodes >= split)):
        _put(folder / f"data/chunk-000/file-{file:03d}.parquet", whole.filter(pa.array(mask)))
    ends = np.cumsum(LENGTHS)
    rows = {
        "episode_index": range(len(LENGTHS)),
        "tasks": [["push"], ["push"], ["pull"]],
        "length": LENGTHS,
        "data/chunk_index": [0] * len(LENGTHS),
        "data/file_index": [int(number >= split) for number in range(len(LENGTHS))],
        "dataset_from_index": [0, *ends[:-1].tolist()],
        "dataset_to_index": ends.tolist(),
    }
    if image == "video":
        key = "videos/observation.images.front"
        rows |= {f"{key}/{name}_index": [0] * len(LENGTHS) for name in ("chunk", "file")}
        rows |= {f"{key}/from_timestamp": [start / 10 for start in rows["dataset_from_index"]]}
    _put(folder / "meta/episodes/chunk-000/file-000.parquet", pa.table(rows))
    content = {
        "codebase_version": "v3.0",
        "robot_type": None,
        "total_episodes": len(LENGTHS),
        "total_frames": total,
        "fps": 10,
        "features": features,
        **(info or {}),
    }
    (folder / "meta/info.json").write_text(json.dumps(content))
    return folder


def png(frame: np.ndarray) -> bytes:
    """As Pillow writes it."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG")
    return buffer.getvalue()


def _put(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def _write_video(folder: Path, name: str, frames: np.ndarray) -> None:
    path = folder / "videos" / name / "chunk-000/file-000.mp4"
    path.parent.mkdir(parents=True)
    write_video(path, frames)


def write_video(path: Path, frames: np.ndarray) -> None:
    """At 10 frames per second."""
    from silri.store.tools.video import VideoWriter

    with VideoWriter(path, 10) as video:
        for frame in frames:
            video.add(frame)
