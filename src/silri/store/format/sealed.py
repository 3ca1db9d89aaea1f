"""Small records that carry their own checksum."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from silri.core.errors import DataError

_SEAL = "sha256"


def digest(data: bytes) -> str:
    """SHA-256 as hexadecimal text."""
    return hashlib.sha256(data).hexdigest()


def seal(record: Mapping[str, Any]) -> dict[str, Any]:
    """``record`` (JSON-able, keys are strings) and the checksum of all its values."""
    return {**record, _SEAL: _checksum(record)}


def unseal(record: Any, where: str) -> dict[str, Any]:
    """The record without its checksum, which holds.

    Raises:
        DataError: if it does not; names ``where``.
    """
    if not isinstance(record, dict) or _SEAL not in record:
        raise DataError(f"{where} is no sealed record")
    content = {key: value for key, value in record.items() if key != _SEAL}
    if _checksum(content) != record[_SEAL]:
        raise DataError(f"{where} does not match its checksum")
    return content


def sealed_json(record: Mapping[str, Any]) -> bytes:
    """A sealed record as an indented JSON file."""
    return (json.dumps(seal(record), indent=2) + "\n").encode()


def read_sealed_json(data: bytes, where: str) -> dict[str, Any]:
    """The inverse of :func:`sealed_json`.

    Raises:
        DataError: if it is no JSON or its checksum does not hold; names ``where``.
    """
    try:
        record = json.loads(data)
    except ValueError as error:  # a flipped byte can make it no UTF-8 or no JSON
        raise DataError(f"{where} is no JSON: {error}") from None
    content = unseal(record, where)
    if sealed_json(content) != data:  # cut or changed between the values
        raise DataError(f"{where} does not have the bytes that were written")
    return content


def _checksum(record: Mapping[str, Any]) -> str:
    # repr of a float is exact in Python, so equal text means equal values. A damaged parquet file
    # can hold types that JSON has not: any text will do for them, it only must not match.
    return digest(json.dumps(record, sort_keys=True, default=repr).encode())
