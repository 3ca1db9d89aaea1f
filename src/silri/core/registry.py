"""Names resolve through one kind of checked table, lazily."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from silri.core.errors import UnknownNameError


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """The error for a wrong name: lists the right ones and the nearest."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return UnknownNameError(f"unknown {kind} '{name}'.{hint} Known: {', '.join(known)}.")


@dataclass(frozen=True)
class Entry:
    """One row of a registry.

    Attributes:
        name: what the user types.
        target: ``package.module:attribute``, imported only when loaded.
        summary: one line for ``silri list``.
    """

    name: str
    target: str
    summary: str

    def load(self) -> Any:
        """Import the module and return the attribute."""
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)


class Registry:
    """A table of :class:`Entry` with unique names; listing it imports nothing."""

    def __init__(self, kind: str, entries: Iterable[Entry]) -> None:
        self.kind = kind
        self._entries: dict[str, Entry] = {}
        for entry in entries:
            if entry.name in self._entries:
                raise ValueError(f"{kind} '{entry.name}' is registered twice")
            self._entries[entry.name] = entry

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def names(self) -> list[str]:
        """All names, in table order."""
        return list(self._entries)

    def get(self, name: str) -> Entry:
        """The entry called ``name``.

        Raises:
            UnknownNameError: if there is none; the message lists the right names.
        """
        if name not in self._entries:
            raise unknown_name(self.kind, name, self._entries)
        return self._entries[name]

    def load(self, name: str) -> Any:
        """Import and return what ``name`` stands for."""
        return self.get(name).load()
