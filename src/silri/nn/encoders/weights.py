"""Weights of frozen encoders: found, pinned by hash, checked against what a network needs."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from silri.core.errors import ConfigError, DataError, MissingExtraError
from silri.core.foreign import usable
from silri.core.registry import import_module
from silri.nn.encoders.numpy_pickle import read_numpy_pickle
from silri.nn.encoders.pickles import reading
from silri.nn.encoders.torch_file import read_torch

_HASH = re.compile(r"(.+)#sha256=([0-9a-f]{64})")
_HUB = re.compile(r"hf:([\w.-]+/[\w.-]+)@([0-9a-f]{40})/([\w./-]+)")
HUB_PACKAGE = "huggingface_hub"
HUB_FORM = "hf:OWNER/NAME@REVISION/FILE, the revision as the 40 digits of its commit"


def read(weights: str) -> dict[str, np.ndarray]:
    """The arrays of a file of weights by their names.

    Args:
        weights: a path, or ``hf:OWNER/NAME@REVISION/FILE`` on the Hugging Face hub, where the
            revision is the hash of a commit: a branch may change tomorrow. Either may end in
            ``#sha256=`` and the 64 digits of the file's hash. The file is ``.safetensors``, a state
            dict by ``torch.save`` (``.pth``, ``.pt``), or nested dicts of numpy or JAX arrays
            (``.pkl``), whose names are then paths such as ``conv_init/kernel``. No code in it is
            run.

    Raises:
        ConfigError: a hub's file without its revision's hash, or without ``huggingface_hub`` to
            get it; a hash that is none; a file of another kind.
        DataError: the file is missing or damaged, or its hash is another.
    """
    path = checked(weights)
    if path.suffix == ".safetensors":
        with reading(path):
            return dict(safetensors.numpy.load_file(path))
    if path.suffix in {".pth", ".pt"}:
        return read_torch(path)
    if path.suffix == ".pkl":
        return read_numpy_pickle(path)
    raise ConfigError(f"weights '{path}': takes a .safetensors, .pth, .pt or .pkl file")


def checked(weights: str) -> Path:
    """The file that ``weights`` names, of the hash that it asks for; see :func:`read`.

    Raises:
        ConfigError, DataError: see :func:`read`.
    """
    found = _HASH.fullmatch(weights)
    if "#" in weights and found is None:
        raise ConfigError(
            f"weights '{weights}': after '#' comes sha256= and the 64 lower-case hexadecimal "
            "digits of the file's SHA-256"
        )
    place, digest = (found[1], found[2]) if found else (weights, "")
    path = _from_hub(place) if place.startswith("hf:") else Path(place)
    if not path.is_file():
        raise DataError(f"weights '{place}': there is no such file")
    if digest:
        _check_hash(path, digest)
    return path


def packaged(
    package: str, file: str, digest: str, extra: str, needed_for: str, beside: str = ""
) -> str:
    """Weights that come as data in a Python package, for :func:`read`. It is not imported.

    Args:
        package: its top-level module.
        file: the path inside.
        digest: SHA-256 of the file.
        extra: of silri's, that brings the package.
        needed_for: whose weights they are.
        beside: how to install the package where the extra does not bring it.

    Raises:
        MissingExtraError: it is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(extra, needed_for, beside)
    return f"{Path(spec.submodule_search_locations[0]) / file}#sha256={digest}"


def pick(
    arrays: Mapping[str, np.ndarray], wanted: Mapping[str, tuple[int, ...]], what: str
) -> dict[str, np.ndarray]:
    """The arrays that a network needs, as float32; what else is there is left out.

    Args:
        arrays: of a file, by name.
        wanted: name to shape.
        what: network and file, for messages.

    Raises:
        DataError: one is missing, of another shape, or not finite; names the first.
    """
    missing = [name for name in wanted if name not in arrays]
    if missing:
        there = ", ".join(list(arrays)[:3])
        raise DataError(
            f"{what}: {len(missing)} of {len(wanted)} arrays are missing, the first is "
            f"'{missing[0]}'; the file has {len(arrays)}: {there}, ..."
        )
    for name, shape in wanted.items():
        if arrays[name].shape != shape:
            raise DataError(f"{what}: '{name}' takes {shape}, the file has {arrays[name].shape}")
        if not np.isfinite(arrays[name]).all():
            raise DataError(f"{what}: '{name}' is not finite")
    return {name: np.asarray(arrays[name], np.float32) for name in wanted}


def digest_of(name: str, arrays: Mapping[str, np.ndarray]) -> str:
    """16 hexadecimal digits for the network ``name`` with these weights, whatever file had them."""
    total = hashlib.sha256(name.encode())
    for key in sorted(arrays):
        total.update(f"{key}{arrays[key].shape}{arrays[key].dtype.str}".encode())
        total.update(np.ascontiguousarray(arrays[key]).tobytes())
    return total.hexdigest()[:16]


def norm_shapes(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a PyTorch BatchNorm, for :func:`pick`."""
    return {f"{name}.{part}": (channels,) for part in _NORM}


_NORM = ("weight", "bias", "running_mean", "running_var")


def fold(
    arrays: Mapping[str, np.ndarray], convolution: str, norm: str, epsilon: float
) -> dict[str, np.ndarray]:
    """A PyTorch convolution without bias and its frozen BatchNorm as one convolution.

    Returns:
        ``kernel`` (height, width, in, out), or (height, width, channels) if it is depthwise, and
        ``bias`` (out), float32: w gamma / sqrt(var + epsilon), beta - mean gamma / sqrt(...).
    """
    kernel = arrays[f"{convolution}.weight"].astype(np.float64)
    gamma, beta, mean, variance = (arrays[f"{norm}.{part}"].astype(np.float64) for part in _NORM)
    scale = gamma / np.sqrt(variance + epsilon)
    kernel = (kernel * scale[:, None, None, None]).transpose(2, 3, 1, 0)  # from OIHW
    if kernel.shape[2] == 1 and kernel.shape[3] > 1:
        kernel = kernel[:, :, 0]
    bias = beta - mean * scale
    return {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}


def sha256_of(path: Path) -> str:
    """Of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_hash(path: Path, wanted: str) -> None:
    found = sha256_of(path)
    if found != wanted:
        raise DataError(f"{path}: its SHA-256 is {found}, and {wanted} was asked for")


def hub_client(what: str) -> Any:
    """The package ``huggingface_hub``.

    Args:
        what: is to be downloaded with it, for messages.

    Raises:
        ConfigError: it is not installed; says what else can be done.
    """
    if importlib.util.find_spec(HUB_PACKAGE) is None:
        raise ConfigError(
            f"{what} are on the Hugging Face hub: pip install huggingface_hub, or download them "
            "and give their path"
        )
    return import_module(HUB_PACKAGE, what)


def _from_hub(place: str) -> Path:
    """The file that ``hf:...`` names, downloaded once into the hub's own cache."""
    match = _HUB.fullmatch(place)
    if match is None:
        raise ConfigError(f"weights '{place}': takes {HUB_FORM}")
    hub = hub_client(f"weights '{place}'")
    repository, revision, file = match.groups()
    with usable(f"weights '{place}' cannot be downloaded"):
        return Path(hub.hf_hub_download(repository, file, revision=revision))
