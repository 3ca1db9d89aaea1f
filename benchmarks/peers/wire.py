"""Messages between silri's process and LeRobot's: JSON and safetensors over a pipe, no pickle.

Imported by both sides, which share neither environment nor any other code of this project.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from safetensors.numpy import load, save

Arrays = dict[str, np.ndarray]
_SIZES = struct.Struct("<II")  # bytes of the header, bytes of the arrays


def send(
    stream: IO[bytes], header: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None
) -> None:
    """Write one message."""
    head = json.dumps(header).encode()
    body = save({key: np.ascontiguousarray(a) for key, a in arrays.items()}) if arrays else b""
    stream.write(_SIZES.pack(len(head), len(body)) + head + body)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], Arrays]:
    """Read one message.

    Raises:
        EOFError: the other side is gone.
    """
    head, body = _SIZES.unpack(_exactly(stream, _SIZES.size))
    header = json.loads(_exactly(stream, head))
    return header, load(_exactly(stream, body)) if body else {}


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError("the other process has ended")
    return data
