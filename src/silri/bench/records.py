"""What a run leaves, as one record: in its run folder, or as a row of a suite's table.

A table is one file of gzipped JSON lines with a row per run, so that the results of a suite can be
kept in a repository. The same runs always give the same bytes.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from silri.core.errors import ConfigError, DataError, UsageError
from silri.store.safety import files

SUFFIX: Final = ".jsonl.gz"
VERSION: Final = 1  # of a table's rows
_REMEDY = "restore it, or remove it and run its cell again"
_PARTS = {"summary": "summary.json", "disturbance": "disturbance.json", "config": "config.json"}


@dataclass(frozen=True)
class Fields:
    """A JSON object whose values are checked when they are taken.

    Attributes:
        where: file, or table and row, for messages.
        data: the object.
    """

    where: str
    data: Mapping[str, Any]

    def error(self, name: str, takes: str) -> DataError:
        """For the value of ``name``."""
        got = f"{name} = {self.data[name]!r}" if name in self.data else f"{name} is missing"
        return DataError(f"{self.where}: {got}; it takes {takes}; {_REMEDY}")

    def take(self, name: str, kind: type[Any]) -> Any:
        """A value of this kind."""
        value = self.data.get(name)
        if not isinstance(value, kind):
            raise self.error(name, f"a {kind.__name__}")
        return value

    def number(self, name: str, *, optional: bool = False) -> Any:
        """A finite number that is not negative; None only if ``optional``."""
        value: Any = self.data.get(name)
        if value is None and optional:
            return None
        if not _is_number(value) or value < 0:
            raise self.error(name, "a number from 0 on")
        return value

    def evaluations(self) -> tuple[tuple[int, float], ...]:
        """[[step, success rate], ...] with ascending steps."""
        rows = self._list("evaluations", lambda row: isinstance(row, list) and len(row) == 2)
        good = all(_is_number(s) and _is_number(r) and s >= 0 and 0 <= r <= 1 for s, r in rows)
        steps = [row[0] for row in rows]
        if not rows:
            raise self.error("evaluations", "some: a suite's runs need evaluation.every above 0")
        if not good or steps != sorted(set(steps)):
            raise self.error("evaluations", "[[step, success rate], ...] in order of steps")
        return tuple((int(step), float(rate)) for step, rate in rows)

    def interventions(self, count: int) -> tuple[int, ...] | None:
        """Human-driven steps at every evaluation, if this version counted them."""
        if "evaluation_intervention_steps" not in self.data:
            return None
        rows = self._list("evaluation_intervention_steps", _is_number)
        if len(rows) != count:
            raise self.error("evaluation_intervention_steps", "one number per evaluation")
        return tuple(int(row) for row in rows)

    def _list(self, name: str, good: Callable[[Any], bool]) -> Sequence[Any]:
        rows: Sequence[Any] = self.take(name, list)
        if not all(map(good, rows)):
            raise self.error(name, "a list of such values")
        return rows


@dataclass(frozen=True)
class Record:
    """A run as its files have it.

    Attributes:
        summary: what ``summary.json`` holds.
        disturbance: what ``disturbance.json`` holds; None if it was not evaluated so.
        config: what ``config.json`` holds: configuration, versions, commit; None if unknown.
    """

    summary: Fields
    disturbance: Fields | None
    config: Fields | None


def read_records(source: Path, names: Iterable[str]) -> dict[str, Record]:
    """The records of these cells, by name; cells without a summary are left out.

    Args:
        source: a table, or a folder with a run folder per cell.
        names: of the cells.

    Raises:
        UsageError: there is nothing at ``source``.
        ConfigError: the table is of a later version.
        DataError: a file is damaged.
    """
    if source.is_file():
        table = read_table(source)
        return {name: table[name] for name in names if name in table}
    if not source.is_dir():
        raise UsageError(f"there is no folder or table {source}")
    return {
        name: _read_folder(source / name)
        for name in names
        if (source / name / _PARTS["summary"]).is_file()
    }


def read_table(path: Path) -> dict[str, Record]:
    """Every row of a table, by cell.

    Raises:
        ConfigError: it is of a later version; with its number.
        DataError: it is damaged.
    """
    try:
        lines = gzip.decompress(path.read_bytes()).decode().splitlines()
        rows = [json.loads(line) for line in lines]
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(
            f"{path} is no table of results ({error}); restore it, or collect it again"
        ) from error
    records = {}
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict) or not isinstance(row.get("cell"), str):
            raise DataError(f"{path}: row {number} has no 'cell'; restore it, or collect it again")
        where = f"{path}: {row['cell']}"
        if row.get("version") != VERSION:
            raise ConfigError(
                f"{where} has version {row.get('version')!r}; this version of silri reads "
                f"{VERSION}: install the version that wrote it, or a newer one"
            )
        parts = {name: _part(where, name, row.get(name)) for name in _PARTS}
        summary = parts["summary"]
        if summary is None:
            raise DataError(f"{where} has no summary; restore it, or collect it again")
        records[row["cell"]] = Record(summary, parts["disturbance"], parts["config"])
    return records


def write_table(path: Path, records: Mapping[str, Record]) -> None:
    """Write a table, sorted by cell.

    Args:
        path: ends in :data:`SUFFIX`.
        records: by cell.
    """
    lines = []
    for cell, record in sorted(records.items()):
        row: dict[str, Any] = {"cell": cell, "version": VERSION}
        for name in _PARTS:
            fields: Fields | None = getattr(record, name)
            row[name] = None if fields is None else fields.data
        lines.append(json.dumps(row, allow_nan=False) + "\n")
    buffer = io.BytesIO()
    # No time and no name in it: the same rows give the same bytes.
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=9, mtime=0) as file:
        file.write("".join(lines).encode())
    files.make_dir(path.parent)
    files.atomic_write(path, buffer.getvalue(), durable=False)


def _read_folder(folder: Path) -> Record:
    summary, disturbance, config = (folder / name for name in _PARTS.values())
    return Record(
        _read_object(summary),
        _read_object(disturbance) if disturbance.is_file() else None,
        _read_object(config) if config.is_file() else None,
    )


def _part(where: str, name: str, value: Any) -> Fields | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise DataError(f"{where}: {name} is no object; restore it, or collect it again")
    return Fields(f"{where}: {name}", value)


def _read_object(path: Path) -> Fields:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is damaged ({error}); {_REMEDY}") from error
    if not isinstance(data, dict):
        raise DataError(f"{path} holds no JSON object; {_REMEDY}")
    return Fields(str(path), data)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
