"""What a person said of a frame, kept as a file: an example that a classifier can learn from."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
from safetensors.numpy import load, save

from silri.core.errors import DataError
from silri.store.safety import files

_NAME = re.compile(r"episode-(\d{6,})-frame-(\d{4,})\.safetensors")


@dataclass(frozen=True)
class Label:
    """One judged frame.

    Attributes:
        episode: number of the episode in its run.
        frame: index in the episode's observations: 0 is what the reset showed.
        success: what the person said.
        probability: what the classifier had said.
        classifier: which one, its digest.
        frames: camera to (H, W, 3) uint8.
    """

    episode: int
    frame: int
    success: bool
    probability: float
    classifier: str
    frames: dict[str, np.ndarray]


def write_label(folder: Path, label: Label) -> Path:
    """Keep a label; a later one of the same frame replaces it."""
    files.make_dir(folder)
    path = folder / f"episode-{label.episode:06d}-frame-{label.frame:04d}.safetensors"
    said = {
        "success": json.dumps(label.success),
        "probability": json.dumps(label.probability),
        "classifier": label.classifier,
    }
    files.atomic_write(path, save(label.frames, metadata=said))
    return path


def read_labels(folder: Path) -> list[Label]:
    """Every label in a folder, by episode and frame; none if there is no such folder.

    Raises:
        DataError: a file is damaged; names it.
    """
    found = [read_label(path) for path in paths_of(folder)]
    return sorted(found, key=lambda each: (each.episode, each.frame))


def paths_of(folder: Path) -> list[Path]:
    """Files of the labels in a folder."""
    return [p for p in sorted(folder.glob("episode-*.safetensors")) if _NAME.fullmatch(p.name)]


def episode_of(path: Path) -> int:
    """The episode that a label's file is of."""
    match = _NAME.fullmatch(path.name)
    assert match is not None
    return int(match[1])


def read_label(path: Path) -> Label:
    """What :func:`write_label` wrote.

    Raises:
        DataError: it is damaged; names it.
    """
    data, match = path.read_bytes(), _NAME.fullmatch(path.name)
    assert match is not None
    try:
        frames = load(data)
        with safetensors.safe_open(str(path), framework="numpy") as opened:
            said = opened.metadata() or {}
        return Label(
            int(match[1]),
            int(match[2]),
            bool(json.loads(said["success"])),
            float(json.loads(said["probability"])),
            said["classifier"],
            frames,
        )
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path} is no label ({error!r}); remove it") from error
