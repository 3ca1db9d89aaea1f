"""Strict reading of TOML tables: what does not fit is named with its file, table and remedy."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from silri.core.errors import ConfigError, UnknownNameError
from silri.core.registry import unknown_name

T = TypeVar("T")

# Part of a file name, and of a table in the report.
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
# What a suite says elsewhere, so that no override can contradict it.
RESERVED = {
    "agent_name": "a variant's 'agent'",
    "preset": "a variant's 'preset'",
    "env.name": "a task's 'env'",
    "operator.name": "a person's 'operator'",
    "steps": "'steps' of the suite or of a task",
    "seed": "'seeds' and 'first_seed'",
}
_KINDS = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a table",
}


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        ConfigError: it is not there, or no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read ({error})") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is no TOML: {error}") from error


class Table:
    """One table of a suite file; every key is taken once, and what is left over is refused.

    Attributes:
        where: file and table, for messages.
    """

    def __init__(self, where: str, data: Mapping[str, Any], known: Collection[str]) -> None:
        """Check the keys.

        Args:
            where: file and table.
            data: its content.
            known: the keys that it may have.

        Raises:
            ConfigError: it has another one.
        """
        self.where, self._data = where, data
        for key in data:
            if key not in known:
                raise ConfigError(f"{where}: {unknown_name('key', key, known)}")

    def error(self, key: str, takes: str) -> ConfigError:
        """The error for the value of ``key``."""
        got = f"{key} = {self._data[key]!r}" if key in self._data else f"{key} is missing"
        return ConfigError(f"{self.where}: {got}; it takes {takes}")

    def take(self, key: str, kind: type[T], default: T | None = None, takes: str = "") -> T:
        """The value of ``key``, of exactly this kind (a whole number is a float, too).

        Raises:
            ConfigError: it is missing and has no default, or is of another kind.
        """
        if key not in self._data and default is not None:
            return default
        value: Any = self._data.get(key)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(key, takes or _KINDS[kind])
        return value

    def has(self, key: str) -> bool:
        """Whether the table has ``key``."""
        return key in self._data

    def count(self, key: str, default: int | None = None, least: int = 1) -> int:
        """A whole number from ``least`` on."""
        value = self.take(key, int, default)
        if value < least:
            raise self.error(key, f"a whole number from {least} on")
        return value

    def label(self) -> str:
        """The value of ``label``: becomes part of a file name."""
        value = self.take("label", str)
        if not LABEL.fullmatch(value):
            raise self.error("label", "letters, digits, '_', '-' and '.'; it becomes a file's name")
        return value

    def name(self, key: str, default: str | None = None) -> str:
        """A text that is not empty."""
        value = self.take(key, str, default)
        if not value.strip():
            raise self.error(key, "a text that is not empty")
        return value

    def labels(self, key: str, known: Collection[str], kind: str) -> tuple[str, ...]:
        """A list of labels that exist."""
        values = self.take(key, list, [])
        for value in values:
            if value not in known:
                raise ConfigError(f"{self.where}: {key}: {unknown_name(kind, str(value), known)}")
        return tuple(values)

    def positive(self, key: str) -> float:
        """A number above 0."""
        value = self.take(key, float)
        if not 0 < value < math.inf:
            raise self.error(key, "a number above 0")
        return value

    def overrides(self) -> Mapping[str, Any]:
        """The table ``overrides``: nested, with the names of the configuration's fields."""
        overrides: Mapping[str, Any] = self.take("overrides", dict, {})
        for path, place in RESERVED.items():
            *sections, name = path.split(".")
            inside: Any = overrides
            for section in sections:
                inside = inside.get(section, {})
            if isinstance(inside, dict) and name in inside:
                raise ConfigError(
                    f"{self.where}: overrides.{path} is no override of a suite; it is {place}"
                )
        return overrides


def tables(data: Mapping[str, Any], key: str, path: Path) -> list[tuple[str, dict[str, Any]]]:
    """(where, content) of every ``[[key]]``.

    Raises:
        ConfigError: there is none, or it is something else.
    """
    rows = data.get(key)
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise ConfigError(f"{path}: it needs one or more tables [[{key}]]")
    return [(f"{path}: [[{key}]] {row.get('label', n)}", row) for n, row in enumerate(rows, 1)]


def named(where: str, key: str, error: UnknownNameError) -> ConfigError:
    """``error`` with the place in the file that it comes from."""
    return ConfigError(f"{where}: {key}: {error}")
