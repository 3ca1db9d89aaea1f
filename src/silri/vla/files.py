"""Folders of models: found, of files that run no code, and small enough for this machine."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any

from silri.core.errors import ConfigError, DataError
from silri.core.foreign import usable
from silri.nn.encoders.weights import hub_client
from silri.vla.serving.feature_server import FILES

_HUB = re.compile(r"hf:([\w.-]+/[\w.-]+)@([0-9a-f]{40})")
_FORM = "a folder, or hf:OWNER/NAME@REVISION, the revision as the 40 digits of its commit"
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")
_GB = 1e9
_ROOM = 1.25  # of the weights: what a call needs beside them
_BASE = 0.5e9  # PyTorch itself


def folder_of(weights: str | None, model: str) -> Path:
    """The folder that ``--vla.weights`` names, from the hub's own cache if it is on the hub.

    Raises:
        ConfigError: there is none, no revision, or no ``huggingface_hub`` to get it; or it holds
            weights of another kind than safetensors.
        DataError: there is no such folder.
    """
    if weights is None:
        raise ConfigError(f"vla.model {model} needs vla.weights: {_FORM}")
    folder = _from_hub(weights) if weights.startswith("hf:") else Path(weights).expanduser()
    if not folder.is_dir():
        raise DataError(f"vla.weights '{weights}': there is no such folder; it takes {_FORM}")
    if not list(folder.glob("*.safetensors")):
        pickled = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLED)
        has = f"only {', '.join(pickled)}, and opening a pickle runs code" if pickled else "none"
        raise ConfigError(
            f"vla.weights '{weights}' takes .safetensors files; it has {has}: choose a revision "
            "that has them, or write them with save_pretrained of the library that it is from"
        )
    return folder


def settings_of(folder: Path) -> dict[str, Any]:
    """``config.json`` of a model.

    Raises:
        DataError: it is missing or damaged.
    """
    path = folder / "config.json"
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing: the folder holds no model") from error
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error})") from error
    if not isinstance(said, dict):
        raise DataError(f"{path} is damaged: it holds no object")
    return said


def parameters_of(folder: Path) -> int:
    """How many numbers its safetensors files hold, by their headers alone.

    Raises:
        DataError: a file is damaged.
    """
    total = 0
    for path in sorted(folder.glob("*.safetensors")):
        if path.name.startswith("policy_"):
            continue  # a processor's statistics
        try:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(min(length, 100_000_000)))
            shapes = [each["shape"] for name, each in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} is damaged: its header cannot be read ({error})") from error
        total += sum(math.prod(shape) for shape in shapes)
    return total


def check_memory(folder: Path, bytes_each: int, free: int, what: str, remedy: str) -> None:
    """Whether a model fits, before any of it is loaded.

    Args:
        folder: of the model.
        bytes_each: of a parameter, in every copy that loading makes.
        free: bytes of the memory that it goes to.
        what: for the message.
        remedy: likewise.

    Raises:
        ConfigError: it does not, with both sizes.
    """
    count = parameters_of(folder)
    needed = count * bytes_each * _ROOM + _BASE
    if needed > free:
        raise ConfigError(
            f"{what} has {count / 1e6:,.0f} million parameters and needs about "
            f"{needed / _GB:.1f} GB; {free / _GB:.1f} GB are free: {remedy}"
        )


def free_memory() -> int:
    """Bytes that this machine can still give, or all it has where that is not known."""
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        found = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(), re.MULTILINE)
        if found is not None:
            return int(found[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _from_hub(weights: str) -> Path:
    match = _HUB.fullmatch(weights)
    if match is None:
        raise ConfigError(f"vla.weights '{weights}': takes {_FORM}")
    hub = hub_client(f"vla.weights '{weights}'")
    repository, revision = match.groups()
    # Neither code nor pickles of the repository ever reach this machine.
    wanted = [f"*{suffix}" for suffix in FILES]
    with usable(f"vla.weights '{weights}' cannot be downloaded"):
        return Path(hub.snapshot_download(repository, revision=revision, allow_patterns=wanted))
