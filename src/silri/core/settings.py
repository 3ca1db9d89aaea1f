"""Configuration classes that validate their values where the fields are declared.

A class with :func:`settings` is a frozen dataclass. Every way to make one checks it: its
constructor, ``dataclasses.replace``, the command line and :func:`from_plain`::

    @settings("agent")
    class AgentConfig:
        batch_size: Annotated[int, Field(ge=2)] = 128  # rows of one gradient step
        tau: Rate01 = 0.005  # of the target networks
        kind: Literal["state", "scalar"] = "state"  # of the multiplier


    AgentConfig(batch_size=1)  # ConfigError: agent.batch_size takes a whole number >= 2, got 1

Types are strict: ``"1"`` and ``True`` are no numbers and ``1.0`` is no whole number. A whole number
is a number, and a list may stand for a tuple. NaN and infinity are refused. What needs two fields
is checked in an ordinary ``__post_init__`` that raises ConfigError.

This is the only module that imports pydantic.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import os
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, TypeVar, dataclass_transform

import numpy as np
import pydantic
import pydantic.dataclasses
from pydantic import Field

from silri.core.errors import ConfigError

__all__ = [
    "Field",
    "NonNegative",
    "NonNegativeInt",
    "Positive",
    "PositiveInt",
    "Rate01",
    "Share01",
    "from_plain",
    "from_text",
    "settings",
    "with_article",
]

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share01 = Annotated[float, Field(ge=0, le=1)]
Rate01 = Annotated[float, Field(gt=0, le=1)]
PositiveInt = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]

_CONFIG = pydantic.ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
_SECTION = "__settings_section__"
_NAMES = {int: "a whole number", float: "a number", bool: "True or False", str: "text"}
_BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
_T = TypeVar("_T")
_Loc = tuple[int | str, ...]


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, Field))
def settings(section: str) -> Callable[[type[_T]], type[_T]]:
    """Make a class a validated, frozen dataclass.

    Args:
        section: what stands before its fields in messages, e.g. ``agent.trunk``; may be empty.

    Returns:
        The decorator. The class that it makes raises :class:`~silri.core.errors.ConfigError` for
        what its fields do not take: one error that names every field, what it got and what it
        takes.
    """

    def decorate(kind: type[_T]) -> type[_T]:
        made: Any = pydantic.dataclasses.dataclass(frozen=True, config=_CONFIG)(kind)
        setattr(made, _SECTION, section)
        construct = made.__init__

        @functools.wraps(construct)
        def checked(self: Any, *args: Any, **fields: Any) -> None:
            try:
                construct(self, *map(_tuples, args), **{k: _tuples(v) for k, v in fields.items()})
            except pydantic.ValidationError as error:
                raise _config_error(made, section, error.errors(include_url=False)) from None

        made.__init__ = checked
        return typing.cast(type[_T], made)

    return decorate


def from_plain(kind: type[_T], value: Any, section: str | None = None) -> _T:
    """A configuration from the plain values of a JSON file; every field must be there.

    Args:
        kind: a class with :func:`settings`, or any other dataclass.
        value: nested dictionaries, lists and scalars, as ``dataclasses.asdict`` gives them.
        section: what stands before the fields in messages; that of ``kind`` if None.

    Raises:
        ConfigError: a field is missing, unknown, or has a value that it does not take; the message
            has its path.
    """
    where: str = getattr(kind, _SECTION, "") if section is None else section
    if not isinstance(value, dict):
        raise ConfigError(f"{where or 'a configuration'} takes an object, got {value!r}")
    try:
        # As JSON text: there a list stands for a tuple, and an object for a dataclass.
        text = json.dumps([value], default=functools.partial(_plain, where))
        made: _T = _reader(typing.cast(Any, kind)).validate_json(text)[0]
    except pydantic.ValidationError as error:
        raise _config_error(kind, where, error.errors(include_url=False), depth=1) from None
    missing = [_join(where, path) for path in _missing(made, value, ())]
    if missing:
        raise ConfigError(f"missing configuration field {', '.join(missing)}: of another version?")
    return made


def from_text(kind: type[_T], values: Mapping[str, Any], section: str) -> _T:
    """Any dataclass from texts, as a command line has them; types are read from its fields.

    Args:
        kind: a dataclass, not necessarily of ours; what is left out keeps its default.
        values: field to text, or to a mapping of the same kind for a dataclass inside it.
        section: what stands before the fields in messages.

    Raises:
        ConfigError: a field that there is not, is missing, or does not take its text.
    """
    known = {field.name: field for field in dataclasses.fields(typing.cast(Any, kind))}
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"{section} has no field {name!r}.{hint} Known: {', '.join(known)}.")
    hints: dict[str, Any] = typing.get_type_hints(kind, include_extras=True)
    config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    made = {}
    for name, value in values.items():
        hint = hints[name]
        if isinstance(value, Mapping) and dataclasses.is_dataclass(hint):
            made[name] = from_text(typing.cast(Any, hint), value, f"{section}.{name}")
            continue
        # Of a tuple of one: pydantic gives some types a configuration only as a part.
        one: Any = types.GenericAlias(tuple, (hint,))
        reader: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(one, config=config)
        try:
            made[name] = reader.validate_python([value])[0]
        except pydantic.ValidationError as error:
            message = error.errors(include_url=False)[0]["msg"]
            raise ConfigError(f"{section}.{name}: {message}, got {value!r}") from None
    try:
        return kind(**made)
    except TypeError as error:
        raise ConfigError(f"{section}: {error}") from error


def merged(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    """``left`` with the values of ``right``; tables are merged, everything else is replaced.

    An item of a list is named by its number, as on the command line: ``{"stages": {"0": {...}}}``
    changes the first stage.
    """
    values = dict(left)
    for name, value in right.items():
        below = values.get(name)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            value = merged(below, value)
        elif isinstance(below, list | tuple) and isinstance(value, Mapping):
            items = {str(number): item for number, item in enumerate(below)}
            if value.keys() <= items.keys():
                value = list(merged(items, value).values())
        values[name] = value
    return values


@functools.cache
def _reader(kind: Any) -> pydantic.TypeAdapter[Any]:
    # Of a tuple of one: pydantic gives an ordinary dataclass a configuration only as a part.
    return pydantic.TypeAdapter(tuple[kind], config=_CONFIG)


def _tuples(value: Any) -> Any:
    """``value`` with tuples in place of lists, and Python's numbers in place of numpy's."""
    if isinstance(value, np.generic):
        return value.item()
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _plain(where: str, value: Any) -> Any:
    """What stands in JSON for a value that a program gives and JSON does not know.

    Raises:
        ConfigError: nothing does.
    """
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise ConfigError(
        f"{where or 'the configuration'} takes numbers, texts, lists and dictionaries, got "
        f"{value!r}, a {type(value).__name__}"
    )


def _missing(made: Any, value: Any, path: _Loc) -> Iterator[_Loc]:
    """Paths of the fields of ``made`` that ``value`` does not have."""
    if dataclasses.is_dataclass(made) and isinstance(value, dict):
        for field in dataclasses.fields(made):
            if field.name not in value:
                yield (*path, field.name)
            else:
                yield from _missing(
                    getattr(made, field.name), value[field.name], (*path, field.name)
                )
    elif isinstance(made, tuple):
        for index, (item, plain) in enumerate(zip(made, value, strict=True)):
            yield from _missing(item, plain, (*path, index))


def _join(section: str, path: _Loc) -> str:
    """``section.field[index].field``."""
    text = section
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else str(key)
    return text


def _config_error(kind: Any, section: str, errors: list[Any], depth: int = 0) -> ConfigError:
    """All that is wrong, in our words; ``depth`` elements of each location stand above ``kind``."""
    names = [field.name for field in dataclasses.fields(kind)]
    locations = [_named(details["loc"][depth:], names) for details in errors]
    # What is wrong inside a list also makes the list too short: say the former.
    outer = {location[:length] for location in locations for length in range(len(location))}
    found = [
        _describe(kind, section, location, details)
        for location, details in zip(locations, errors, strict=True)
        if location not in outer
    ]
    return ConfigError("; ".join(dict.fromkeys(found)))  # the members of a union say the same


def _named(location: _Loc, names: list[str]) -> _Loc:
    """A location that begins with a field's name: a positional argument has its number there."""
    if location and isinstance(location[0], int) and location[0] < len(names):
        return (names[location[0]], *location[1:])
    return location


def _describe(kind: Any, section: str, location: _Loc, details: Any) -> str:
    problem, value = details["type"], details["input"]
    if problem in ("unexpected_keyword_argument", "unexpected_positional_argument"):
        *parent, name = location
        owner, _ = _declared(kind, tuple(parent))
        names = [field.name for field in dataclasses.fields(owner)]
        near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        holder = _join(section, tuple(parent)) or "the configuration"
        return f"{holder} has no field {name!r}.{hint}"
    if problem == "missing":
        declared, path = _declared(kind, location[:-1])
        if dataclasses.is_dataclass(declared):
            declared, path = _declared(kind, location)
            return f"{_join(section, path)} is missing; it takes {_takes(declared)}"
    else:
        declared, path = _declared(kind, location)
    if problem in ("value_error", "assertion_error"):
        return f"{_join(section, path)}: {details['ctx']['error']}, got {value!r}"
    takes = _takes(declared)
    if problem == "finite_number":
        takes = takes.replace("a number", "a finite number")
    return f"{_join(section, path)} takes {takes}, got {value!r}"


def _declared(kind: Any, location: _Loc) -> tuple[Any, _Loc]:
    """The declared type at a location, and how much of the location is a path to a field.

    The rest says which member of a union was tried, which the user never wrote.
    """
    hint = kind
    for depth, key in enumerate(location):
        inner = _members(_bare(hint))
        if len(inner) > 1:
            return hint, location[:depth]
        if dataclasses.is_dataclass(inner[0]) and isinstance(key, str):
            hint = typing.get_type_hints(inner[0], include_extras=True).get(key)
        elif typing.get_origin(inner[0]) is tuple and isinstance(key, int):
            items = typing.get_args(inner[0])
            hint = items[0] if items[-1] is ... else items[min(key, len(items) - 1)]
        else:
            return hint, location[:depth]
    return (_bare(hint), location) if dataclasses.is_dataclass(_bare(hint)) else (hint, location)


def _bare(hint: Any) -> Any:
    return typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint


def _members(hint: Any) -> list[Any]:
    """The members of a union but None, without their constraints; of another type, itself."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return [hint]
    return [_bare(member) for member in typing.get_args(hint) if member is not type(None)]


def _takes(hint: Any) -> str:
    """What a field of this type takes, in words."""
    bounds: dict[str, Any] = {}
    if typing.get_origin(hint) is Annotated:
        hint, *metadata = typing.get_args(hint)
        for item in metadata:
            for part in getattr(item, "metadata", [item]):
                names = (*_BOUNDS, "min_length", "max_length")
                bounds |= {name: getattr(part, name) for name in names if hasattr(part, name)}
    origin, items = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        members = [item for item in items if item is not type(None)]
        words = " or ".join(_takes(member) for member in members)
        return f"{words}, or None" if len(members) < len(items) else words
    if origin is typing.Literal:
        *others, last = map(repr, items)
        return f"{', '.join(others)} or {last}" if others else last
    if origin is tuple:
        return _takes_tuple(items, bounds)
    return _NAMES.get(hint, with_article(getattr(hint, "__name__", str(hint)))) + _limits(bounds)


def _takes_tuple(items: tuple[Any, ...], bounds: dict[str, Any]) -> str:
    if items[-1] is not ...:
        return f"{len(items)} values ({'; '.join(map(_takes, items))})"
    least = f"{bounds['min_length']} or more values" if "min_length" in bounds else "a list"
    return f"{least} (each {_takes(items[0])})"


def _limits(bounds: dict[str, Any]) -> str:
    if set(bounds) == {"ge", "le"}:
        return f" from {bounds['ge']} to {bounds['le']}"
    limits = [f"{_BOUNDS[name]} {bounds[name]}" for name in _BOUNDS if name in bounds]
    if "min_length" in bounds:
        limits.append(f"of {bounds['min_length']} or more characters")
    return "".join(f" {limit}" if not i else f" and {limit}" for i, limit in enumerate(limits))


def with_article(noun: str) -> str:
    """``a Trunk``, ``an EnvConfig``."""
    return f"{'an' if noun[0] in 'AEIOU' else 'a'} {noun}"
