"""A pickle read as data: a small machine that runs none of its author's code.

Files of weights are often pickles, and a pickle is a program: whoever loads one the usual way runs
it. Here it is read instead. :func:`pickletools.genops` splits it into instructions, and the machine
knows only those that put dicts, lists and numbers together. A global name stays a name: nothing is
imported. A call is one of those that the reader of a kind of file hands in, or it is refused.
"""

from __future__ import annotations

import contextlib
import pickletools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from silri.core.errors import DataError


class Refused(Exception):
    """Something in the file that a file of weights has no need of."""


@dataclass(frozen=True)
class Name:
    """A global name of the pickle, module and attribute with a space between. Only a name."""

    text: str


class Built:
    """A value that is made empty and filled by a later instruction (BUILD)."""

    def build(self, state: Any) -> None:
        """Take what the pickle has for it."""
        raise NotImplementedError


def only_a_name(*arguments: Any) -> Any:
    """For a global name that a pickle may mention and not call."""
    raise Refused(f"a call with {arguments!r:.80}")


def no_persistent_ids(identity: Any) -> Any:
    """For a kind of file that has none."""
    raise Refused(f"a persistent id {identity!r:.80}")


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Around the reading of a file that anybody may have written.

    Raises:
        DataError: instead of whatever was raised; names the file.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except Refused as error:
        raise DataError(
            f"{path}: refused, for it has {error}; silri reads arrays and runs no pickle"
        ) from error
    except Exception as error:  # a damaged file leads anywhere
        raise DataError(
            f"{path}: cut off, damaged or of another kind ({type(error).__name__}: {error})"
        ) from error


_MARK = object()
_SILENT = {"PROTO", "FRAME"}
_PUSH_ARGUMENT = {
    *("BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
}
_PUSH_NEW: Mapping[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "MARK": lambda: _MARK,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def run(
    stream: BinaryIO,
    calls: Mapping[str, Callable[..., Any]],
    persistent: Callable[[Any], Any] = no_persistent_ids,
) -> Any:
    """The value of one pickle; ``stream`` is left behind its end.

    Args:
        stream: from the first instruction on.
        calls: global name to the function of ours that stands for a call of it.
        persistent: what a persistent id stands for.

    Raises:
        Refused: another name, call or instruction. Other errors if it is damaged.
    """
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    for code, argument, _ in pickletools.genops(stream):
        name = code.name
        if name in _SILENT:
            continue
        if name in _PUSH_ARGUMENT:
            stack.append(argument)
        elif name in _PUSH_NEW:
            stack.append(_PUSH_NEW[name]())
        elif name in {"BINPUT", "LONG_BINPUT"}:
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in {"BINGET", "LONG_BINGET"}:
            stack.append(memo[argument])
        elif name == "STOP":
            return stack.pop()
        elif name in {"GLOBAL", "STACK_GLOBAL"}:
            if name == "STACK_GLOBAL":
                attribute, module = stack.pop(), stack.pop()
                argument = f"{a(str, module)} {a(str, attribute)}"
            stack.append(_known(a(str, argument), calls))
        elif name == "REDUCE":
            arguments, called = stack.pop(), stack.pop()
            stack.append(calls[a(Name, called).text](*a(tuple, arguments)))
        elif name == "BINPERSID":
            stack.append(persistent(stack.pop()))
        else:
            _assemble(name, stack)
    raise EOFError("no end")


def _known(name: str, calls: Mapping[str, Any]) -> Name:
    if name not in calls:
        raise Refused(f"the name '{name.replace(' ', '.')}'")
    return Name(name)


def _assemble(name: str, stack: list[Any]) -> None:
    """The instructions that put values together."""
    if name in _TUPLES:
        count = _TUPLES[name]
        stack[-count:] = [tuple(stack[-count:])]
    elif name == "TUPLE":
        stack.append(tuple(_to_mark(stack)))
    elif name in {"SETITEM", "SETITEMS"}:
        items = _to_mark(stack) if name == "SETITEMS" else [stack.pop(), stack.pop()][::-1]
        a(dict, stack[-1]).update(zip(items[::2], items[1::2], strict=True))
    elif name in {"APPEND", "APPENDS"}:
        items = _to_mark(stack) if name == "APPENDS" else [stack.pop()]
        a(list, stack[-1]).extend(items)
    elif name == "BUILD":
        state = stack.pop()
        if isinstance(stack[-1], Built):
            stack[-1].build(state)
        else:  # attributes of a dict, such as PyTorch's _metadata: versions of modules
            a(dict, stack[-1])
    else:
        raise Refused(f"the instruction {name}")


def _to_mark(stack: list[Any]) -> list[Any]:
    """Pop what lies above the last mark, and the mark."""
    place = next(i for i in range(len(stack) - 1, -1, -1) if stack[i] is _MARK)
    items = stack[place + 1 :]
    del stack[place:]
    return items


def a(kind: type, value: Any) -> Any:
    """``value``, which must be a ``kind``."""
    if not isinstance(value, kind):
        found = type(value).__name__.strip("_")
        article = "an" if found[0].lower() in "aeiou" else "a"
        raise Refused(f"{article} {found} where a {kind.__name__.strip('_')} belongs")
    return value
