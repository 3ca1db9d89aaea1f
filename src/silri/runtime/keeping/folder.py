"""The run folder: where everything of a run lives, and who may write there."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from silri.configs.run import RunConfig
from silri.configs.serialize import FORMAT, load_config, to_json
from silri.core.errors import RunFolderError, SilriError
from silri.store.safety import files
from silri.store.safety.lock import LOCK
from silri.store.safety.space import check_writable, explained

PACKAGES = ("silri", "jax", "jaxlib", "flax", "optax", "numpy", "gymnasium", "metaworld", "mujoco")


class RunFolder:
    """Paths of one run.

    Attributes:
        path: ``runs/NAME``.
    """

    def __init__(self, path: Path, *, made_now: bool = False) -> None:
        self.path, self._made_now = path, made_now

    config = property(lambda self: self.path / "config.json")
    metrics = property(lambda self: self.path / "metrics.jsonl")
    summary = property(lambda self: self.path / "summary.json")
    tensorboard = property(lambda self: self.path / "tensorboard")
    episodes = property(lambda self: self.path / "episodes")
    quarantine = property(lambda self: self.path / "quarantine")
    checkpoints = property(lambda self: self.path / "checkpoints")
    policy = property(lambda self: self.path / "policy")
    loop = property(lambda self: self.path / "loop.json")
    errors = property(lambda self: self.path / "errors.log")  # tracebacks of others' code
    videos = property(lambda self: self.path / "videos")  # of evaluations: step_000005000/...
    curve = property(lambda self: self.path / "curve.png")

    @staticmethod
    def check_free(path: Path) -> None:
        """Whether a new run may be made there.

        Raises:
            RunFolderError: the folder holds something already, or cannot be written.
        """
        check_writable(path)
        if path.exists() and (not path.is_dir() or any(map(_counts, path.iterdir()))):
            raise RunFolderError(
                f"{path} exists and is not empty: go on with 'silri train --resume {path}', or "
                "choose another folder with --out"
            )

    @classmethod
    def create(cls, path: Path, config: RunConfig) -> RunFolder:
        """A new run; writes ``config.json``.

        Raises:
            RunFolderError: the folder holds something already.
        """
        cls.check_free(path)
        folder = cls(path, made_now=True)
        with explained(path, "the run folder"):
            files.make_dir(path)
            folder.write_config(config)
        return folder

    @classmethod
    def open(cls, path: Path) -> tuple[RunFolder, RunConfig]:
        """An existing run and its configuration.

        Raises:
            RunFolderError: there is no run at ``path``.
            ConfigError: its configuration does not fit this version; names the field.
        """
        folder = cls(path)
        if not folder.config.is_file():
            what = "is a file" if path.is_file() else "does not exist"
            what = "has no config.json" if path.is_dir() else what
            raise RunFolderError(f"{path} is no run folder: it {what}; 'silri train' makes one")
        return folder, load_config(folder.config)

    @contextlib.contextmanager
    def unless_refused(self) -> Iterator[None]:
        """What is refused inside, before anything happened, is not in the way of the next try.

        A run that was there before stays, whatever it holds.
        """
        new = self._made_now and self._is_blank()
        try:
            yield
        except SilriError:
            if new and self._is_blank():
                files.remove_tree(self.path)
            raise

    def _is_blank(self) -> bool:
        """Whether there is nothing but the configuration, and a dataset without a file in it."""
        dataset = (self.episodes, self.episodes / LOCK)
        there = {*self.path.rglob("*")}
        return self.config in there and there <= {self.config, self.path / LOCK, *dataset}

    def write_config(self, config: RunConfig) -> None:
        """The resolved configuration, package versions and git state."""
        record = {
            "format": FORMAT,
            "run": to_json(config),
            "python": platform.python_version(),
            "packages": {name: _version(name) for name in PACKAGES},
            "git": _git_state(),
        }
        files.atomic_write(self.config, json.dumps(record, indent=2).encode())

    def write_summary(self, summary: dict[str, Any]) -> None:
        """``summary.json``, replaced in one step."""
        files.atomic_write(self.summary, json.dumps(summary, indent=2).encode())


def settled(path: Path, before: Path) -> Path:
    """``path`` as it was meant in the working directory ``before``.

    Some simulators change it as they are opened; a run is where its person said all the same.
    """
    return path if Path.cwd() == before else before / path


def _counts(path: Path) -> bool:
    """Whether a file makes a folder a run's: not what a killed start left behind."""
    return not path.name.endswith(files.TEMPORARY)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_state() -> dict[str, Any] | None:
    """Commit and cleanliness of the checkout that silri runs from; None outside of one."""
    here = Path(__file__).parent
    try:
        commit = _git(here, "rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_git(here, "status", "--porcelain", "."))}
    except (OSError, subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, check=True, capture_output=True, text=True, timeout=10
    )
    return done.stdout.strip()
