"""Nested dicts of numpy or JAX arrays out of a pickle, such as SERL's ``resnet10_params.pkl``.

The pickle is read, not run: :mod:`silri.nn.encoders.pickles`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from silri.nn.encoders.pickles import Built, Refused, a, only_a_name, reading, run

_MAX_ENTRIES = 10_000
_TYPE = re.compile(r"[fiu][1248]|b1")


class _Type(Built):
    """A dtype: its letters, and the byte order that comes later."""

    def __init__(self, text: Any, *_: Any) -> None:
        if not _TYPE.fullmatch(a(str, text)):
            raise Refused(f"the dtype {text!r:.80}")
        self.value = np.dtype(text)

    def build(self, state: Any) -> None:
        if a(tuple, state)[1] == ">":
            self.value = self.value.newbyteorder(">")


class _Array(Built):
    """A numpy array: made empty, then (version, shape, dtype, Fortran's order?, bytes)."""

    def __init__(self, *_: Any) -> None:
        self.value: np.ndarray | None = None

    def build(self, state: Any) -> None:
        _, shape, kind, fortran, data = a(tuple, state)
        flat = np.frombuffer(bytes(memoryview(data)), a(_Type, kind).value)
        self.value = flat.reshape(a(tuple, shape), order="F" if fortran else "C")


def _from_buffer(data: Any, kind: Any, shape: Any, order: Any) -> _Array:
    """A numpy array as protocol 5 spells it."""
    array = _Array()
    array.build((1, shape, kind, order == "F", data))
    return array


def _of_jax(_: Any, arguments: Any, state: Any, *__: Any) -> _Array:
    """A JAX array: how numpy makes one, and its state."""
    array = _Array(*a(tuple, arguments))
    array.build(state)
    return array


def _scalar_bytes(text: Any, encoding: Any) -> bytes:
    """Bytes as protocol 2 spells them."""
    if encoding != "latin1":
        raise Refused(f"the encoding {encoding!r:.80}")
    data: bytes = a(str, text).encode("latin1")
    return data


_CALLS: Mapping[str, Callable[..., Any]] = {
    "numpy.core.multiarray _reconstruct": _Array,
    "numpy._core.multiarray _reconstruct": _Array,
    "numpy.core.numeric _frombuffer": _from_buffer,
    "numpy._core.numeric _frombuffer": _from_buffer,
    "numpy ndarray": only_a_name,
    "numpy dtype": _Type,
    "_codecs encode": _scalar_bytes,
    "jax._src.array _reconstruct_array": _of_jax,
    "collections OrderedDict": dict,
    "flax.core.frozen_dict FrozenDict": lambda tree: a(dict, tree),
}


def read_numpy_pickle(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a pickled tree by their paths in it, such as ``conv_init/kernel``.

    Raises:
        DataError: no such file; it is cut off or damaged; it holds anything but dicts of arrays,
            or a name or an instruction that those do not need. Names the file.
    """
    with reading(path):
        return _leaves(run(io.BytesIO(path.read_bytes()), _CALLS))


def _leaves(tree: Any) -> dict[str, np.ndarray]:
    """The arrays of nested dicts. A dict may stand in itself, or at very many places."""
    found: dict[str, np.ndarray] = {}
    waiting: list[tuple[str, Any]] = [("", tree)]
    for _ in range(_MAX_ENTRIES):
        if not waiting:
            return found
        path, value = waiting.pop()
        if path and isinstance(value, _Array) and value.value is not None:
            found[path] = value.value
        else:
            prefix = f"{path}/" if path else ""
            waiting += [(prefix + a(str, name), part) for name, part in a(dict, value).items()]
    raise Refused(f"more than {_MAX_ENTRIES} entries")
