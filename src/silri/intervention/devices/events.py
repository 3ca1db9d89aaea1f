"""What a device says, as it says it, and the file that keeps it: a device's recorded twin.

A file is JSON lines: a header, then one event a line, in the order of their times::

    {"silri_input": 1, "device": "gamepad"}
    {"t": 0.3214, "kind": "axis", "data": ["leftx", 0.5]}
    {"t": 0.5, "kind": "gone", "data": "it was unplugged"}

The same decoding code reads a device and its twin, so that all of it is tested without hardware.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from silri.core.errors import ConfigError, DataError

INPUT_FORMAT = 1
GONE = "gone"  # the device cannot be read; data is the reason
BACK = "back"  # it can be read again


@dataclass(frozen=True, slots=True)
class RawEvent:
    """One thing that a device said.

    Attributes:
        time: seconds since the device was opened.
        kind: of the device's own words, or GONE or BACK.
        data: plain values, as JSON has them.
    """

    time: float
    kind: str
    data: Any


def read_input(path: Path, device: str) -> list[RawEvent]:
    """The events of a file.

    Args:
        path: of the file.
        device: that it is to be of, e.g. ``gamepad``.

    Raises:
        DataError: there is no such file, or a line of it is none of ours.
        ConfigError: it was recorded from another device.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"recorded input {path} cannot be read: {error}") from error
    header = _parsed(path, 1, lines[0] if lines else "")
    if header.get("silri_input") != INPUT_FORMAT:
        raise DataError(
            f"{path} is no recorded input of format {INPUT_FORMAT} (its first line says "
            f"{header.get('silri_input')!r}); make one with --operator.record-input FILE"
        )
    if header.get("device") != device:
        raise ConfigError(f"{path} was recorded from '{header.get('device')}', not from '{device}'")
    events: list[RawEvent] = []
    for number, line in enumerate(lines[1:], start=2):
        event = _event(path, number, _parsed(path, number, line))
        if events and event.time < events[-1].time:
            raise DataError(f"{path}, line {number}: time goes back to {event.time} s")
        events.append(event)
    return events


def _parsed(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        parsed = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {number} is no JSON: {line[:60]!r}") from error
    if not isinstance(parsed, dict):
        raise DataError(f"{path}, line {number} takes an object, got {line[:60]!r}")
    return parsed


def _event(path: Path, number: int, parsed: dict[str, Any]) -> RawEvent:
    time, kind = parsed.get("t"), parsed.get("kind")
    if not isinstance(time, int | float) or not math.isfinite(time) or not isinstance(kind, str):
        raise DataError(f"{path}, line {number} takes a time 't' and a text 'kind', got {parsed}")
    return RawEvent(float(time), kind, parsed.get("data"))


class InputWriter:
    """Appends events to a new file; every line is handed to the system at once."""

    def __init__(self, path: Path, device: str) -> None:
        """Begin the file.

        Raises:
            ConfigError: it is there already, or cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("x", encoding="utf-8", buffering=1)
        except FileExistsError as error:
            raise ConfigError(f"record_input: {path} is there already; name a new file") from error
        except OSError as error:
            raise ConfigError(f"record_input: {path} cannot be written: {error}") from error
        self._write({"silri_input": INPUT_FORMAT, "device": device})

    def write(self, events: Iterable[RawEvent]) -> None:
        """Append ``events``."""
        for event in events:
            self._write({"t": round(event.time, 6), "kind": event.kind, "data": event.data})

    def close(self) -> None:
        """Nothing more is appended."""
        self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
