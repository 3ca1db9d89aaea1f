"""Reading a run folder back into curves."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from silri.core.errors import DataError, RunFolderError

log = logging.getLogger(__name__)

WINDOW = 20  # episodes in a running mean, as in HIL-SERL's curves

Key = tuple[str, str, str, str]


@dataclass(frozen=True)
class RunCurve:
    """What a figure needs to know about one run.

    Attributes:
        name: of the run folder.
        agent, preset, env, operator: empty where the run has not written a summary yet.
        seed: of the run, None if unknown.
        evaluation_steps: (N,) environment steps, ascending.
        success_rates: (N,) of those evaluations.
        mean_returns: (N,) likewise.
        judged: something has said in an evaluation whether the task was done.
        evaluation_episodes: episodes per evaluation, None if unknown.
        episode_steps: (M,) environment steps at the end of each training episode, ascending.
        episode_lengths: (M,) steps.
        episode_interventions: (M,) human-driven steps.
        episode_successes: (M,) 1 if the task was done, with or without help.
    """

    name: str
    agent: str
    preset: str
    env: str
    operator: str
    seed: int | None
    evaluation_steps: np.ndarray
    success_rates: np.ndarray
    mean_returns: np.ndarray
    judged: bool
    evaluation_episodes: int | None
    episode_steps: np.ndarray
    episode_lengths: np.ndarray
    episode_interventions: np.ndarray
    episode_successes: np.ndarray

    @property
    def key(self) -> Key:
        """Runs that agree in this differ by their seed only."""
        return (self.agent or self.name, self.preset, self.env, self.operator)

    def intervention_rates(self) -> np.ndarray:
        """(M,) human-driven share of the steps of the last :data:`WINDOW` episodes."""
        driven = _trailing_sum(self.episode_interventions)
        return driven / np.maximum(_trailing_sum(self.episode_lengths), 1.0)

    def unaided_successes(self) -> np.ndarray:
        """(M,) share of the last :data:`WINDOW` training episodes that succeeded without help."""
        unaided = self.episode_successes * (self.episode_interventions == 0)
        return _trailing_sum(unaided) / _trailing_sum(np.ones_like(unaided))


def read_run(folder: str | Path) -> RunCurve:
    """Read the curves of a run, finished or not.

    A last line that is torn (the run is being written, or was killed) is left out.

    Raises:
        RunFolderError: if ``folder`` is no run folder.
        DataError: if its summary is damaged.
    """
    folder = Path(folder)
    metrics = folder / "metrics.jsonl"
    if not metrics.is_file():
        what = "is a file" if folder.is_file() else "does not exist"
        what = "is no run folder: it has no metrics.jsonl" if folder.is_dir() else what
        raise RunFolderError(f"{folder} {what}; give the folder that 'silri train --out' wrote")
    # By step, the last line wins: a resumed run repeats what it re-learns.
    evaluations: dict[int, Mapping[str, Any]] = {}
    episodes: dict[int, Mapping[str, Any]] = {}
    for row in read_rows(metrics):
        step = row.get("step")
        if not _is_number(step):
            continue
        if _is_number(row.get("evaluation/success_rate")):
            evaluations[int(step)] = row
        if _is_number(row.get("episode/length")):
            episodes[int(step)] = row
    summary = read_summary(folder / "summary.json")
    counts = [row.get("evaluation/episodes") for row in evaluations.values()]
    count = next(filter(_is_number, [*counts, summary.get("eval_episodes")]), None)
    seed = summary.get("seed")
    return RunCurve(
        name=folder.resolve().name,
        agent=str(summary.get("agent") or ""),
        preset=str(summary.get("preset") or ""),
        env=str(summary.get("env") or ""),
        operator=str(summary.get("operator") or ""),
        seed=int(seed) if _is_number(seed) else None,
        evaluation_steps=np.asarray(sorted(evaluations), np.float64),
        success_rates=_column(evaluations, "evaluation/success_rate"),
        mean_returns=_column(evaluations, "evaluation/mean_return"),
        judged=not evaluations
        or any("evaluation/judged" not in row for row in evaluations.values()),
        evaluation_episodes=None if count is None else int(count),
        episode_steps=np.asarray(sorted(episodes), np.float64),
        episode_lengths=_column(episodes, "episode/length"),
        episode_interventions=_column(episodes, "episode/intervention_steps"),
        episode_successes=_column(episodes, "episode/success"),
    )


def _trailing_sum(values: np.ndarray) -> np.ndarray:
    """(M,) sums over the last :data:`WINDOW` values, over fewer at the start."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    end = np.arange(1, len(values) + 1)
    return total[end] - total[np.maximum(end - WINDOW, 0)]


def _column(rows: Mapping[int, Mapping[str, Any]], name: str) -> np.ndarray:
    values = (rows[step].get(name) for step in sorted(rows))
    return np.asarray([v if _is_number(v) else 0.0 for v in values], np.float64)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and bool(np.isfinite(value))


def read_rows(path: Path) -> Iterable[Mapping[str, Any]]:
    """The lines of ``metrics.jsonl``; one that is torn or damaged is left out."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            if number < len(lines):
                log.warning("%s: line %d is damaged and left out", path, number)
            continue
        if isinstance(row, dict):
            yield row


def read_summary(path: Path) -> Mapping[str, Any]:
    """``summary.json``, empty if there is none yet.

    Raises:
        DataError: it is damaged.
    """
    if not path.is_file():
        return {}
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} is damaged ({error}); the run can be plotted without it"
        ) from error
    if not isinstance(summary, dict):
        raise DataError(f"{path} holds no JSON object; the run can be plotted without it")
    return summary
