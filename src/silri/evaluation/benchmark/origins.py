"""How collected runs came to be: their configurations and what they were run with.

A run folder says it in ``config.json``. For a folder of collected summaries one file,
:data:`RUNS`, keeps the same of every cell; what several share is in it once, the seed aside.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from silri.configs.run import RunConfig
from silri.configs.serialize import FORMAT, differences, from_json, migrate, to_json
from silri.core.errors import ConfigError, DataError
from silri.data import files
from silri.evaluation.benchmark.suite import Cell

RUNS: Final = "runs.json"
LAYOUT: Final = 1  # of that file


@dataclass(frozen=True)
class Origin:
    """Where a run comes from.

    Attributes:
        config: of the run.
        made_with: ``python``, ``packages`` (name to version) and ``git`` (None outside a checkout).
    """

    config: RunConfig
    made_with: Mapping[str, Any]

    @property
    def commit(self) -> str:
        """Of the checkout, and whether it was changed."""
        git = self.made_with.get("git")
        if not isinstance(git, dict):
            return "none, not run from a checkout"
        return f"{git.get('commit')}{', changed' if git.get('dirty') else ''}"


def read_origins(folder: Path, names: Iterable[str]) -> dict[str, Origin]:
    """The origins of these cells; those that do not say it are left out.

    Args:
        folder: holds a run folder per cell, or collected summaries.
        names: of the cells.

    Raises:
        DataError: a file is damaged.
        ConfigError: a configuration is of a later version.
    """
    collected = _Collected.read(folder)
    origins = {}
    for name in names:
        path = folder / name / "config.json"
        if path.is_file():
            origins[name] = _origin(_object(path), path)
        elif name in collected.cells:
            origins[name] = collected.origin(name)
    return origins


def write_origins(folder: Path, origins: Mapping[str, Origin], kept: Callable[[str], bool]) -> None:
    """Write :data:`RUNS` of a folder of collected summaries.

    Args:
        folder: where to.
        origins: of the cells that were collected now.
        kept: whether a cell that was collected before is still there.
    """
    before = _Collected.read(folder)
    everything = {name: before.origin(name) for name in before.cells if kept(name)} | dict(origins)
    if not everything:
        files.remove(folder / RUNS)
        return
    cells, configurations, made = {}, {}, {}
    for name, origin in sorted(everything.items()):
        config = {k: v for k, v in to_json(origin.config).items() if k != "seed"}
        key, with_ = _digest(config), _digest(origin.made_with)
        configurations[key], made[with_] = config, dict(origin.made_with)
        cells[name] = {"configuration": key, "made_with": with_, "seed": origin.config.seed}
    data = {
        "layout": LAYOUT,
        "format": FORMAT,
        "cells": cells,
        "configurations": configurations,
        "made_with": made,
    }
    files.atomic_write(folder / RUNS, (json.dumps(data, indent=1) + "\n").encode(), durable=False)


def differing(
    origins: Mapping[str, Origin],
    cells: Iterable[Cell],
    resolve: Callable[[list[str]], RunConfig],
) -> dict[str, tuple[str, ...]]:
    """``field: theirs -> the suite's`` of the cells that ran with another configuration."""
    found = {}
    for cell in cells:
        if cell.name in origins:
            fields = differences(origins[cell.name].config, resolve(cell.arguments()))
            if fields:
                found[cell.name] = tuple(fields)
    return found


def describe(origins: Mapping[str, Origin], names: Iterable[str]) -> list[str]:
    """A line for each version of everything that these cells were run with."""
    counts: Counter[str] = Counter()
    unknown = 0
    for name in names:
        if name not in origins:
            unknown += 1
            continue
        made = origins[name].made_with
        packages = ", ".join(f"{k} {v}" for k, v in dict(made.get("packages") or {}).items())
        counts[f"Python {made.get('python')}, {packages}; commit {origins[name].commit}"] += 1
    lines = [f"{count} runs: {text}" for text, count in counts.most_common()]
    return lines + [f"{unknown} runs do not say what they were run with"] * bool(unknown)


@dataclass(frozen=True)
class _Collected:
    """The contents of :data:`RUNS`; empty where there is none."""

    path: Path
    format: int
    cells: Mapping[str, Mapping[str, Any]]
    configurations: Mapping[str, Mapping[str, Any]]
    made_with: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> _Collected:
        path = folder / RUNS
        if not path.is_file():
            return cls(path, FORMAT, {}, {}, {})
        data = _object(path)
        if data.get("layout") != LAYOUT:
            raise ConfigError(
                f"{path} has layout {data.get('layout')!r}; this version of silri reads {LAYOUT}: "
                "install the version that wrote it, or a newer one"
            )
        for name in ("cells", "configurations", "made_with"):
            if not isinstance(data.get(name), dict):
                raise DataError(f"{path} has no table '{name}'; collect its runs again")
        return cls(
            path,
            data.get("format", FORMAT),
            data["cells"],
            data["configurations"],
            data["made_with"],
        )

    def origin(self, name: str) -> Origin:
        try:
            cell = self.cells[name]
            run = {**self.configurations[cell["configuration"]], "seed": cell["seed"]}
            made = self.made_with[cell["made_with"]]
        except (KeyError, TypeError) as error:
            raise DataError(f"{self.path}: {name} lacks {error}; collect its run again") from error
        return Origin(from_json(migrate(run, self.format, str(self.path))), made)


def _origin(data: Mapping[str, Any], path: Path) -> Origin:
    config = from_json(migrate(data.get("run"), data.get("format"), str(path)))
    return Origin(config, {name: data.get(name) for name in ("python", "packages", "git")})


def _object(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}); restore it, or collect again") from error
    if not isinstance(data, dict):
        raise DataError(f"{path} holds no JSON object; restore it, or collect again")
    return data


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:12]
