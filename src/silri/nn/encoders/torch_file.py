"""State dicts out of PyTorch's files, without PyTorch and without running a pickle.

Both layouts of ``torch.save`` are read: the zip of PyTorch 1.6 and later, and the one before it.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from silri.nn.encoders.pickles import Name, Refused, a, only_a_name, reading, run

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # torch.serialization.MAGIC_NUMBER
_LEGACY_PROTOCOL = 1001
_LENGTH = struct.Struct("<q")  # before every storage of the old layout

_DTYPES: Mapping[str, np.dtype[Any]] = {
    "torch FloatStorage": np.dtype("<f4"),
    "torch DoubleStorage": np.dtype("<f8"),
    "torch HalfStorage": np.dtype("<f2"),
    "torch LongStorage": np.dtype("<i8"),
    "torch IntStorage": np.dtype("<i4"),
    "torch ShortStorage": np.dtype("<i2"),
    "torch CharStorage": np.dtype("<i1"),
    "torch ByteStorage": np.dtype("<u1"),
    "torch BoolStorage": np.dtype("?"),
}


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype[Any]
    count: int


@dataclass(frozen=True)
class _Tensor:
    """Offset and strides are in numbers of the storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _storage(identity: Any) -> _Storage:
    """The storage that a persistent id stands for: ("storage", kind, key, device, count, ...)."""
    kind, dtype, key, _, count, *view = a(tuple, identity)
    name = a(Name, dtype).text
    if kind != "storage" or any(view) or name not in _DTYPES:
        raise Refused(f"a persistent id of {kind!r:.80} and {name}")
    return _Storage(a(str, key), _DTYPES[name], a(int, count))


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    for number in (offset, *a(tuple, shape), *a(tuple, strides)):
        a(int, number)
    return _Tensor(a(_Storage, storage), offset, shape, strides)


def _parameter(tensor: Any, *_: Any) -> _Tensor:
    found: _Tensor = a(_Tensor, tensor)
    return found


_CALLS: Mapping[str, Callable[..., Any]] = {
    "collections OrderedDict": dict,
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_parameter": _parameter,
    **dict.fromkeys(_DTYPES, only_a_name),
}


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a state dict that ``torch.save`` wrote, by their names.

    Args:
        path: of a state dict, or of a dict that has one as ``state_dict``.

    Raises:
        DataError: no such file; it is cut off or damaged; it holds anything but tensors, or a
            name or an instruction that a state dict does not need. Names the file.
    """
    with reading(path):
        data = path.read_bytes()
        zipped = zipfile.is_zipfile(io.BytesIO(data))
        return _read_zip(data) if zipped else _read_legacy(data)


def _read_zip(data: bytes) -> dict[str, np.ndarray]:
    """The layout since PyTorch 1.6: NAME/data.pkl, and NAME/data/KEY for every storage."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        root = next((n.removesuffix("data.pkl") for n in names if n.endswith("/data.pkl")), None)
        if root is None:
            raise Refused("no data.pkl in its zip")
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
            raise Refused("the byte order of a big-endian machine")
        # torch.save compresses nothing; a member that unpacks to more than the file is a bomb.
        if sum(member.file_size for member in archive.infolist()) > len(data):
            raise Refused("a compressed member")
        state = run(io.BytesIO(archive.read(f"{root}data.pkl")), _CALLS, _storage)
        return _arrays(state, lambda storage: archive.read(f"{root}data/{storage.key}"))


def _read_legacy(data: bytes) -> dict[str, np.ndarray]:
    """The layout before: five pickles one after the other, then the storages."""
    stream = io.BytesIO(data)
    if run(stream, {}) != _LEGACY_MAGIC or run(stream, {}) != _LEGACY_PROTOCOL:
        raise Refused("no magic number of torch.save")
    if not run(stream, {})["little_endian"]:
        raise Refused("the byte order of a big-endian machine")
    state, keys = run(stream, _CALLS, _storage), run(stream, {})
    kinds = {tensor.storage.key: tensor.storage for tensor in _tensors(state).values()}
    stored: dict[str, bytes] = {}
    for key in keys:
        (count,) = _LENGTH.unpack(stream.read(_LENGTH.size))
        if key not in kinds or count < 0:  # its width is not known, so neither is the next place
            raise Refused(f"a storage {key!r:.80} of no tensor")
        stored[key] = stream.read(count * kinds[key].dtype.itemsize)
    return _arrays(state, lambda storage: stored[storage.key])


def _tensors(state: Any) -> dict[str, _Tensor]:
    """The tensors of a state dict, or of the one under ``state_dict``."""
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not state:
        raise Refused(f"a {type(state).__name__} where a dict of tensors belongs")
    for name, value in state.items():
        if not (isinstance(name, str) and isinstance(value, _Tensor)):
            raise Refused(f"an entry {name!r:.80} that is no tensor")
    return state


def _arrays(state: Any, stored: Callable[[_Storage], bytes]) -> dict[str, np.ndarray]:
    return {
        name: _array(name, tensor, stored(tensor.storage))
        for name, tensor in _tensors(state).items()
    }


def _array(name: str, tensor: _Tensor, stored: bytes) -> np.ndarray:
    expected = tensor.storage.count * tensor.storage.dtype.itemsize
    if len(stored) != expected:
        raise EOFError(f"'{name}' has {len(stored)} of {expected} bytes")
    flat = np.frombuffer(stored, tensor.storage.dtype)
    size: int = math.prod(tensor.shape)
    steps = zip(tensor.shape, tensor.strides, strict=True)
    end = tensor.offset + sum((length - 1) * step for length, step in steps) + 1
    # A view beyond its storage would read this process's memory; one that repeats itself would
    # take any amount of it.
    negative = min(tensor.offset, *tensor.shape, *tensor.strides, 0) < 0
    if negative or size > flat.size or (size and end > flat.size):
        raise Refused(f"a tensor '{name}' that reaches beyond its storage")
    strides = [step * flat.itemsize for step in tensor.strides]
    return np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides).copy()
