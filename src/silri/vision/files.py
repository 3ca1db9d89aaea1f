"""What was fitted to see with, as a file: safetensors, with the encoder that it belongs to."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import safetensors
from safetensors.numpy import load, save

from silri.core.errors import DataError
from silri.store.safety import files
from silri.vision.sight import Sight

FILE = "sight.safetensors"
_ENCODER = "encoder"  # the key of a file's metadata


def save_sight(sight: Sight, folder: Path) -> None:
    """Write ``sight.safetensors``, if there is anything to see or to read with."""
    if sight.identity:
        files.make_dir(folder)
        files.atomic_write(folder / FILE, encode_sight(sight))


def load_sight(sight: Sight, folder: Path, *, exact: bool = False) -> None:
    """Take what :func:`save_sight` wrote, if there are cameras or texts.

    Args:
        sight: to be filled.
        folder: that has the file.
        exact: a vision-language model must give the same bits as then; see
            :meth:`silri.vision.sight.Sight.restore`.

    Raises:
        DataError: the file is missing, damaged, or of other cameras.
        ConfigError: it was fitted for another encoder or model; names both.
    """
    if not sight.identity:
        return
    path = folder / FILE
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(
            f"{path} is missing: without it nobody knows what the policy sees; copy the whole "
            f"folder {folder.name}/"
        ) from error
    decode_sight(sight, data, str(path), exact=exact)


def encode_sight(sight: Sight) -> bytes:
    """A safetensors file."""
    return save(sight.arrays(), metadata=named(sight.identity))


def decode_sight(sight: Sight, data: bytes, where: str, *, exact: bool = False) -> None:
    """Take what :func:`encode_sight` gave; see :func:`load_sight` for what it raises."""
    try:
        sight.restore(load(data), metadata(data), where, exact=exact)
    except safetensors.SafetensorError as error:
        raise DataError(f"{where} is damaged ({error})") from error


def metadata(data: bytes) -> dict[str, str]:
    """The encoder's identity in a sound safetensors file; nothing if it has none."""
    (length,) = struct.unpack("<Q", data[:8])
    said = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    identity: dict[str, str] = json.loads(said.get(_ENCODER, "{}"))
    return identity


def named(identity: Mapping[str, str]) -> dict[str, str] | None:
    """An encoder's identity as a safetensors file's metadata."""
    # One key: the library writes several in an order of its own, and equal files would differ.
    return {_ENCODER: json.dumps(identity, sort_keys=True)} if identity else None
