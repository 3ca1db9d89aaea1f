"""Names first (agent, preset, env, operator), then a typed configuration built around them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from silri.core.errors import UsageError

_WHERE = {"resume": "the run folder to go on with", "preset": "'silri list agents' shows them"}


@dataclass
class Names:
    """What ``take_names`` found; None where it was not given."""

    values: dict[str, str]
    rest: list[str]

    def get(self, name: str, default: str) -> str:
        """The given name or the default."""
        return self.values.get(name, default)


def take_names(arguments: Iterable[str], names: tuple[str, ...]) -> Names:
    """Take ``--NAME VALUE`` and ``--NAME=VALUE`` out of an argument list.

    Raises:
        UsageError: one is given twice or without a value.
    """
    found: dict[str, str] = {}
    rest: list[str] = []
    pending = iter(arguments)
    for argument in pending:
        flag, equals, value = argument.partition("=")
        name = flag[2:] if flag.startswith("--") else ""
        if name not in names:
            rest.append(argument)
            continue
        if not equals:
            value = next(pending, "")
        if not value or value.startswith("--"):
            where = _WHERE.get(name, f"'silri list {name}s' shows them")
            raise UsageError(f"--{name} needs a value: {where}")
        if name in found:
            raise UsageError(f"--{name} is given twice: {found[name]} and {value}")
        found[name] = value
    return Names(found, rest)


def parse(
    kind: Any,
    rest: list[str],
    *,
    prog: str,
    description: str,
    default: Any = None,
    flags: bool = False,
) -> Any:
    """The remaining flags as ``kind`` (a dataclass), starting from ``default``.

    ``flags`` makes a bool field ``--name``; else it takes True or False.
    """
    import tyro

    keywords = {} if default is None else {"default": default}
    return tyro.cli(
        kind,
        args=rest,
        prog=prog,
        description=description,
        config=(tyro.conf.FlagCreatePairsOff if flags else tyro.conf.FlagConversionOff,),
        **keywords,
    )
