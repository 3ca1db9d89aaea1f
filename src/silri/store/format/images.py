"""Camera images as PNG: lossless, and LeRobot's own way of keeping images in its tables."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import pyarrow as pa
from PIL import Image, UnidentifiedImageError

from silri.core.errors import DataError, SpecError
from silri.core.specs import ArraySpec, EnvSpec

# What HuggingFace's `datasets.Image` is in a table.
IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_COLOUR_TYPES = {1: 0, 3: 2}  # channels -> PNG's number for grey and for RGB
_PNG_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_LEFT_FILTER = 1  # each byte minus the same channel one pixel to the left
_WORKERS = min(4, os.cpu_count() or 1)

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def is_image(array: ArraySpec) -> bool:
    """Whether an observation is kept as images: uint8 and (H, W, 1) or (H, W, 3)."""
    return array.dtype == "uint8" and len(array.shape) == 3 and array.shape[2] in _COLOUR_TYPES


def check_storable(spec: EnvSpec) -> None:
    """Whether the store has a place for every observation of ``spec``.

    Raises:
        SpecError: a uint8 observation that is no image, several texts in one, one without
            elements, or a key that no column can have; names the key.
    """
    for key, array in spec.observation.items():
        if not key or not key.isprintable():
            raise SpecError(f"the observation {key!r} of {spec.name} needs a name that can be read")
        if 0 in array.shape:
            raise SpecError(
                f"'observation.{key}' of {spec.name} has no elements, shape {array.shape}; leave "
                "it out"
            )
        if array.is_text and array.shape:
            raise SpecError(
                f"'observation.{key}' of {spec.name} has {array.shape} texts; it takes one, of "
                "shape (): give each a key of its own"
            )
        if array.dtype == "uint8" and not is_image(array):
            raise SpecError(
                f"'observation.{key}' of {spec.name} is uint8 with shape {array.shape}: uint8 is "
                "for images, (height, width, 3) or (height, width, 1); declare it float32 if it "
                "is a vector, or move its colours to the last axis"
            )


def encode_images(frames: np.ndarray) -> list[bytes]:
    """One PNG per image.

    Args:
        frames: (T, H, W, C) uint8 with C = 1 or 3.
    """
    # Written by hand and not by Pillow, which tries five filters per line: a third of the time
    # for the same size. Any reader of PNG reads it.
    count, height, width, channels = frames.shape
    flat = frames.reshape(count, height, width * channels)
    lines = np.empty((count, height, 1 + width * channels), np.uint8)
    lines[..., 0] = _LEFT_FILTER
    lines[..., 1:] = flat
    lines[..., 1 + channels :] -= flat[..., :-channels]  # modulo 256, as PNG has it
    colour = _COLOUR_TYPES[channels]
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)

    def encode(image: np.ndarray) -> bytes:
        # Level 1: the higher ones take two to ten times as long and save a sixth.
        pieces = ((b"IHDR", header), (b"IDAT", zlib.compress(image.data, 1)), (b"IEND", b""))
        return _PNG_START[:8] + b"".join(_chunk(*piece) for piece in pieces)

    return _in_parallel(encode, list(lines))


def decode_images(encoded: Sequence[bytes], shape: tuple[int, ...], name: str) -> np.ndarray:
    """The inverse of :func:`encode_images`; also reads what others wrote (PNG or JPEG).

    Args:
        encoded: T image files.
        shape: (H, W, C) that each must have.
        name: of the column, for errors.

    Returns:
        (T, H, W, C) uint8.

    Raises:
        DataError: one is no image or has another size.
    """
    result = np.empty((len(encoded), *shape), np.uint8)

    def decode(index: int) -> None:
        image = _open(encoded[index], shape[2], f"'{name}' of frame {index}")
        if image.shape != shape:
            raise DataError(
                f"'{name}' of frame {index} is an image of {image.shape}; {shape} is expected"
            )
        result[index] = image

    _in_parallel(decode, range(len(encoded)))
    return result


def png_shape(data: bytes) -> tuple[int, int, int] | None:
    """(H, W, C) of what :func:`encode_images` made, from its header alone; None if it is else."""
    if data[:16] != _PNG_START or len(data) < 26:
        return None
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    channels = {colour: channels for channels, colour in _COLOUR_TYPES.items()}.get(colour)
    return (height, width, channels) if depth == 8 and channels is not None else None


def image_column(encoded: Sequence[bytes]) -> pa.Array:
    """A table's column of images."""
    missing = pa.nulls(len(encoded), pa.string())
    return pa.StructArray.from_arrays(
        [pa.array(encoded, pa.binary()), missing], fields=list(IMAGE_TYPE)
    )


def _open(data: bytes, channels: int, what: str) -> np.ndarray:
    try:
        # Only these two: a damaged file must not wake one of Pillow's rarer readers.
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
            pixels = np.asarray(image.convert({1: "L", 3: "RGB"}[channels]))
            return pixels.reshape(*pixels.shape[:2], channels)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, struct.error) as error:
        raise DataError(f"{what} is no readable image: {error}") from None


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(data, zlib.crc32(kind))
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def _in_parallel(function: Callable[[_In], _Out], items: Sequence[_In]) -> list[_Out]:
    """Results in order. Both zlib and Pillow let other threads run while they work."""
    if len(items) < 8 or _WORKERS == 1:
        return [function(item) for item in items]
    # A pool of its own each time: threads that stay would not survive a fork.
    with ThreadPoolExecutor(_WORKERS) as pool:
        return list(pool.map(function, items))
