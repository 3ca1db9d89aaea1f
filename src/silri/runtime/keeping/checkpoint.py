"""Checkpoints: folders that are whole or not there, checked byte by byte before they are used.

::

    checkpoints/
      000005012/
        arrays.safetensors   every leaf of the agent, under its path in the tree
        state.json           counters and whatever else is JSON
        manifest.json        SHA-256 of the two, sealed with one of its own
      last -> 000005012

A checkpoint is prepared beside (``000005012.tmp``), flushed and renamed into place, all through
:mod:`silri.store.safety.files`. Orbax would do the first half of this; but its writes cannot be
enumerated by a test, a flipped bit passes its restore unseen, and for agents of this size it is
several times slower to save and to import (``benchmarks/store.py`` prints the numbers).
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from silri.agents.base import CAME_LATER
from silri.core.errors import CheckpointError, DataError
from silri.store.format.sealed import digest, read_sealed_json, sealed_json
from silri.store.safety import files

_LOG = logging.getLogger(__name__)

FORMAT = 1
ARRAYS, STATE, MANIFEST, LAST = "arrays.safetensors", "state.json", "manifest.json", "last"


@dataclass(frozen=True)
class Loaded:
    """A checkpoint that passed its manifest and fits.

    Attributes:
        step: where it was taken.
        arrays: as the template, with the stored values.
        state: what was saved with it.
        messages: which newer checkpoints were damaged, and how.
    """

    step: int
    arrays: Any
    state: dict[str, Any]
    messages: list[str]


class CheckpointStore:
    """The checkpoints of one run; its episode store's lock keeps other writers out.

    Attributes:
        folder: created with the first checkpoint.
        keep: how many to keep.
    """

    def __init__(self, folder: Path, keep: int = 3) -> None:
        """Touches nothing yet.

        Raises:
            CheckpointError: if ``keep`` is below 1.
        """
        if keep < 1:
            raise CheckpointError(f"at least 1 checkpoint must be kept, got keep={keep}")
        self.folder = folder
        self.keep = keep

    def steps(self) -> list[int]:
        """Steps of the checkpoints that are in place, damaged ones too, ascending."""
        if not self.folder.is_dir():
            return []
        return sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdecimal())

    def save(self, step: int, arrays: Any, state: Mapping[str, Any]) -> Path:
        """Save; when this returns, the checkpoint is in place and durable.

        One of the same step is replaced. Older ones than the newest ``keep`` are removed last.

        Args:
            step: of the run.
            arrays: a pytree of arrays and plain numbers.
            state: JSON-able.

        Returns:
            The checkpoint's folder.

        Raises:
            CheckpointError: a leaf that is no array, or two leaves with the same path.
        """
        leaves = {name: _to_numpy(name, leaf) for name, leaf in _named_leaves(arrays).items()}
        contents = {
            ARRAYS: safetensors.numpy.save(leaves),
            STATE: json.dumps(dict(state), indent=1).encode(),
        }
        hashes = {name: digest(content) for name, content in contents.items()}
        contents[MANIFEST] = sealed_json({"format": FORMAT, "step": step, "files": hashes})
        files.make_dir(self.folder)
        self._clear_unfinished()
        path = self._path(step)
        beside = files.temporary(path)
        files.make_dir(beside)
        for name, content in contents.items():
            files.write_file(beside / name, content)
        files.sync_dir(beside)
        if path.exists():
            # A folder cannot replace a folder. Killed between the two renames, the run goes on
            # from the checkpoint before and re-learns what follows it.
            files.rename(path, files.temporary(path.with_name(f"{path.name}.replaced")))
        files.rename(beside, path)
        files.link(path.name, self.folder / LAST)
        self._clear_unfinished()
        for old in self.steps()[: -self.keep]:
            files.remove_tree(self._path(old))
        return path

    def load_newest(self, template: Any) -> Loaded | None:
        """The newest checkpoint whose checksums hold, in the structure of ``template``.

        Args:
            template: a tree of the same structure, shapes and dtypes; its values are not used.
                Leaves come back as what they are in it: JAX arrays, numpy arrays or numbers.

        Returns:
            None if there is no checkpoint at all.

        Raises:
            CheckpointError: there are some but all are damaged, or the one that is sound does
                not fit ``template``; names the field.
        """
        messages: list[str] = []
        for step in reversed(self.steps()):
            try:
                leaves, state = self._read(step)
            except DataError as error:
                messages.append(f"checkpoint {self._path(step).name} is not used: {error}")
                _LOG.warning(messages[-1])
                continue
            return Loaded(step, _fill(template, leaves, self._path(step)), state, messages)
        if messages:
            raise CheckpointError(
                f"no checkpoint in {self.folder} is sound: {'; '.join(messages)}. Remove "
                f"{self.folder} to learn again from the stored episodes"
            )
        return None

    def _path(self, step: int) -> Path:
        return self.folder / f"{step:09d}"

    def _read(self, step: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The leaves and the state, verified."""
        path = self._path(step)
        manifest = read_sealed_json(_content(path / MANIFEST), MANIFEST)
        if manifest["format"] != FORMAT:
            raise DataError(f"it has format {manifest['format']}; this version reads {FORMAT}")
        if manifest["step"] != step:
            raise DataError(f"its manifest is of step {manifest['step']}")
        contents = {}
        for name in (ARRAYS, STATE):
            contents[name] = _content(path / name)
            if digest(contents[name]) != manifest["files"].get(name):
                raise DataError(f"{name} does not match its checksum")
        try:
            return safetensors.numpy.load(contents[ARRAYS]), json.loads(contents[STATE])
        except (SafetensorError, ValueError) as error:
            raise DataError(
                f"its files hold what was written, but cannot be read: {error}"
            ) from None

    def _clear_unfinished(self) -> None:
        for path in sorted(self.folder.glob("*" + files.TEMPORARY)):
            if path.is_symlink() or path.is_file():
                files.remove(path)
            else:
                files.remove_tree(path)


def tree_hash(tree: Any) -> str:
    """SHA-256 over paths, dtypes, shapes and bytes of all leaves, in the order of their paths."""
    result = hashlib.sha256()
    for name, leaf in sorted(_named_leaves(tree).items()):
        array = _to_numpy(name, leaf)
        result.update(f"{name}:{array.dtype.str}:{array.shape}:".encode())
        result.update(array.tobytes())
    return result.hexdigest()


def _named_leaves(tree: Any) -> dict[str, Any]:
    """Leaves by their path in the tree, such as ``critic/params/Dense_0/kernel``."""
    leaves: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if name in leaves:
            raise CheckpointError(f"two leaves of the tree are called '{name}'; rename one")
        leaves[name] = leaf
    return leaves


def _to_numpy(name: str, leaf: Any) -> np.ndarray:
    """A leaf on the host, in C order."""
    try:
        array = np.asarray(leaf, order="C")
    except TypeError as error:
        raise CheckpointError(f"'{name}' is no plain array and cannot be saved: {error}") from None
    if array.dtype.kind not in "biuf":
        raise CheckpointError(
            f"'{name}' is {type(leaf).__name__} of dtype {array.dtype}; a checkpoint holds "
            "numbers only, keep anything else in its state"
        )
    return array


def _fill(template: Any, leaves: dict[str, np.ndarray], where: Path) -> Any:
    """``template`` with the stored leaves.

    Raises:
        CheckpointError: if the two differ in a field, its shape or its dtype.
    """
    wanted = _named_leaves(template)
    later = {name: leaf for name, leaf in wanted.items() if name.rpartition("/")[2] in CAME_LATER}
    leaves = {name: _to_numpy(name, leaf) for name, leaf in later.items()} | leaves
    if missing := sorted(wanted.keys() - leaves.keys()):
        raise CheckpointError(
            f"{where} has no '{missing[0]}' ({len(missing)} such fields), which this configuration "
            "has; resume with the configuration of the run"
        )
    if surplus := sorted(leaves.keys() - wanted.keys()):
        raise CheckpointError(
            f"{where} has '{surplus[0]}' ({len(surplus)} such fields), which this configuration "
            "has not; resume with the configuration of the run"
        )
    filled: list[Any] = []
    for name, leaf in wanted.items():  # in the order of the tree
        stored, like = leaves[name], _to_numpy(name, leaf)
        if (stored.shape, stored.dtype) != (like.shape, like.dtype):
            raise CheckpointError(
                f"'{name}' is {stored.dtype}{list(stored.shape)} in {where} and "
                f"{like.dtype}{list(like.shape)} in this configuration; resume with the "
                "configuration of the run"
            )
        if isinstance(leaf, jax.Array):
            filled.append(jnp.array(stored))  # a copy: the file's bytes are not aligned
        else:
            filled.append(stored.copy() if isinstance(leaf, np.ndarray) else stored.item())
    return jax.tree_util.tree_unflatten(jax.tree_util.tree_structure(template), filled)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror}") from None
