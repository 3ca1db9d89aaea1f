"""Frames between the run and its console, on a loopback socket: a length, then msgpack."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np

from silri.core.errors import SilriError

TO_CONSOLE = 64 << 20  # bytes of a frame at most: a step with the pictures of several cameras
TO_RUN = 64 << 10  # inputs and commands
GREETING = 1 << 10  # before anybody knows who it is
_HEAD = 4  # bytes of the length, big endian
_ARRAY = 1  # msgpack's extension type of an array


_TEXT = re.compile(r"<U[1-9]\d{0,4}")  # the dtype of an instruction


class WireError(SilriError):
    """What came over the socket is no frame, or is too large."""


def pack(message: Mapping[str, Any]) -> bytes:
    """A message as one frame. Arrays keep dtype and shape; NaN passes."""
    body: bytes = msgpack.packb(message, default=_array, use_bin_type=True)
    return len(body).to_bytes(_HEAD, "big") + body


def unpack(body: bytes) -> dict[str, Any]:
    """The message in a frame's body.

    Raises:
        WireError: it holds none.
    """
    try:
        message = msgpack.unpackb(body, ext_hook=_to_array, raw=False, strict_map_key=True)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise WireError(f"a frame of {len(body)} bytes cannot be read: {error}") from error
    if not isinstance(message, dict) or not isinstance(message.get("kind"), str):
        raise WireError("a frame holds no message")
    return message


def body_size(head: bytes, limit: int) -> int:
    """How many bytes follow ``head``.

    Raises:
        WireError: more than ``limit``.
    """
    size = int.from_bytes(head, "big")
    if size > limit:
        raise WireError(f"a frame of {size} bytes; {limit} are allowed")
    return size


def receive(connection: socket.socket, limit: int) -> dict[str, Any] | None:
    """The next message on a blocking socket; None at its end.

    Raises:
        WireError: it is no frame, or larger than ``limit`` bytes.
        OSError: of the socket.
    """
    head = _exactly(connection, _HEAD)
    if head is None:
        return None
    body = _exactly(connection, body_size(head, limit))
    return None if body is None else unpack(body)


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    parts, missing = [], size
    while missing:
        part = connection.recv(min(missing, 1 << 20))
        if not part:
            return None
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _array(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        head = msgpack.packb([str(value.dtype), list(value.shape)])
        return msgpack.ExtType(_ARRAY, head + np.ascontiguousarray(value).tobytes())
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be sent")


def _to_array(code: int, data: bytes) -> np.ndarray:
    if code != _ARRAY:
        raise ValueError(f"unknown extension {code}")
    unpacker = msgpack.Unpacker()
    unpacker.feed(data)
    dtype, shape = unpacker.unpack()
    if dtype not in ("float32", "float64", "uint8") and not _TEXT.fullmatch(dtype):
        raise ValueError(f"no array has the dtype {dtype!r}")
    return np.frombuffer(data, dtype, offset=unpacker.tell()).reshape(shape)
