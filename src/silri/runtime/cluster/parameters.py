"""Parameters on their way from the learner to the robots: one file, the newest only."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgpack

from silri.core.errors import DataError
from silri.store.format.sealed import digest
from silri.store.safety import files

_MALFORMED = (ValueError, TypeError, KeyError, AttributeError, OverflowError)


class Parameters(NamedTuple):
    """A policy that can be acted with.

    Attributes:
        version: learner iterations behind it; grows.
        arrays: a safetensors file, see :func:`~silri.runtime.keeping.export.encode_parameters`.
    """

    version: int
    arrays: bytes


def write_parameters(path: Path, data: bytes) -> None:
    """Replace what is at ``path`` in one step."""
    files.atomic_write(path, data, durable=False)  # the next ones are on their way


def pack(parameters: Parameters) -> bytes:
    """As one message with a checksum."""
    packed: bytes = msgpack.packb({**parameters._asdict(), "sha256": _checksum(parameters)})
    return packed


def unpack(data: bytes, where: str) -> Parameters:
    """The inverse of :func:`pack`.

    Raises:
        DataError: it is damaged; names ``where``.
    """
    try:
        record = msgpack.unpackb(data)
        parameters = Parameters(record["version"], record["arrays"])
        sound = _checksum(parameters) == record["sha256"]
    except (*_MALFORMED, msgpack.UnpackException) as error:
        raise DataError(f"{where} holds no parameters: {error!r}") from error
    if not sound:
        raise DataError(f"{where} does not match its checksum")
    return parameters


def _checksum(parameters: Parameters) -> str:
    # The version, too: one that is too high would keep all later parameters away.
    return digest(parameters.version.to_bytes(8, "big", signed=True) + parameters.arrays)
