"""``silri eval RUN``: how often a trained policy succeeds on its own, and when it is disturbed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from silri.agents.base import Agent
from silri.cli.arguments import parse
from silri.cli.main import DONE
from silri.configs.run import RunConfig
from silri.core.errors import ConfigError
from silri.core.protocols import Env
from silri.data import files
from silri.evaluation.disturbance import UNDISTURBED, Row, offered, robustness
from silri.evaluation.evaluate import Actor, evaluate, mean_actor, sampling_actor
from silri.runtime.backend import prepare_jax
from silri.runtime.export import load_policy
from silri.runtime.folder import RunFolder

DESCRIPTION = """Evaluate the exported policy of a run, or of several: autonomous episodes on fixed
layouts that training never sees, with the mean action (or --sampled), and a 95 % Wilson interval.
With --disturbance also with the object moved once in every episode (docs/robustness.md)."""
SHOWN_FAILURES = 20


@dataclass(frozen=True)
class Arguments:
    """Flags of ``silri eval``."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]  # run folders, one or more
    episodes: int = 50  # how many; the first are those of training's evaluations
    sampled: bool = False  # act as in training, by sampling
    disturbance: bool = False  # undisturbed, and disturbed in every way that the task offers
    json: bool = False  # print one JSON object per run instead of text

    def __post_init__(self) -> None:
        if not self.runs:
            raise ConfigError("RUN is missing: the folder of the run to evaluate, or of several")
        if self.episodes < 1:
            raise ConfigError(f"--episodes takes 1 or more, got {self.episodes}")

    @property
    def action(self) -> str:
        """How the policy acts, as reports call it."""
        return "sampled" if self.sampled else "mean"


@dataclass(frozen=True)
class Trained:
    """A run with an exported policy."""

    folder: Path
    agent: Agent
    config: RunConfig

    @classmethod
    def load(cls, path: Path) -> Trained:
        """Open the run folder and its policy."""
        folder, _ = RunFolder.open(path)
        agent, config, _ = load_policy(folder.policy)
        return cls(folder.path, agent, config)

    def actor(self, *, sampled: bool) -> Actor:
        """How it acts."""
        return sampling_actor(self.agent) if sampled else mean_actor(self.agent)


def main(arguments: list[str]) -> int:
    """Evaluate and return the exit code."""
    chosen: Arguments = parse(
        Arguments, arguments, prog="silri eval", description=DESCRIPTION, flags=True
    )
    prepare_jax()
    trained = [Trained.load(path) for path in chosen.runs]
    if chosen.disturbance:
        return _disturb(chosen, trained)
    for run in trained:
        _evaluate(chosen, run)
    return DONE


def _evaluate(chosen: Arguments, run: Trained) -> None:
    """Evaluate one run as training does; write and print the report."""
    env = run.config.env.create()
    first = run.config.evaluation.first_layout
    result = evaluate(env, run.actor(sampled=chosen.sampled), chosen.episodes, first)
    env.close()
    metrics = result.metrics()
    failed: list[int] = (first + np.flatnonzero(~result.successes)).tolist()
    report = {
        "run": str(run.folder),
        "action": chosen.action,
        **{k: None if np.isnan(v) else v for k, v in metrics.items()},
        "failed_layouts": failed,
    }
    _write(run.folder / f"evaluation_{chosen.action}.json", report)
    if chosen.json:
        print(json.dumps(report))
        return
    print(
        f"{run.config.agent_name} on {run.config.env.name}, {chosen.action} action: "
        f"{metrics['successes']:.0f} of {chosen.episodes} succeed, "
        f"{metrics['success_rate']:.2f} [{metrics['ci_low']:.2f}, {metrics['ci_high']:.2f}], "
        f"in {metrics['mean_success_length']:.1f} steps on average"
    )
    if failed:
        shown = failed[:SHOWN_FAILURES]
        more = len(failed) - len(shown)
        print(f"failed layouts: {shown}" + (f" and {more} more" if more else ""))


def _disturb(chosen: Arguments, trained: list[Trained]) -> int:
    """Evaluate every run with and without disturbances; write and print the reports."""
    environments: list[Env] = []
    for run in trained:  # all are checked before the first one takes its minutes
        environments.append(run.config.env.create())
        offered(environments[-1])
    # The mean action is what is deployed, and what other programs look for.
    name = "disturbance.json" if not chosen.sampled else "disturbance_sampled.json"
    tables: dict[str, dict[str, Mapping[str, Row]]] = {}
    for run, env in zip(trained, environments, strict=True):
        first = run.config.evaluation.first_layout
        rows = robustness(env, run.actor(sampled=chosen.sampled), chosen.episodes, first)
        env.close()
        report = {"episodes": chosen.episodes, "action": chosen.action, "rows": rows}
        _write(run.folder / name, report)
        if chosen.json:
            named = {"run": str(run.folder), "agent": run.config.agent_name}
            print(json.dumps({**named, "env": run.config.env.name, **report}))
        column = f"{run.config.agent_name} ({run.folder})"
        tables.setdefault(run.config.env.name, {})[column] = rows
    if not chosen.json:
        for env_name, columns in tables.items():
            print(f"{env_name}, {chosen.action} action, {chosen.episodes} episodes per row")
            print("\n".join(_table(columns)))
    return DONE


def _table(columns: Mapping[str, Mapping[str, Row]]) -> Iterable[str]:
    """Lines of a table: a row per setting, a column per run."""
    kinds = list(dict.fromkeys(kind for rows in columns.values() for kind in rows))
    table = [["", *columns]]
    for kind in kinds:
        title = "Original" if kind == UNDISTURBED else f"Disturbance: {kind}"
        table.append([title, *(_cell(kind, rows[kind]) for rows in columns.values())])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _cell(kind: str, row: Row) -> str:
    """Success, its interval and, unless it is all of them, how many were disturbed."""
    text = f"{row['success_rate']:.2f} [{row['ci_low']:.2f}, {row['ci_high']:.2f}]"
    if kind == UNDISTURBED or row["occurred"] == row["episodes"]:
        return text
    if not row["occurred"]:
        return f"{text}, none disturbed"
    return f"{text}, {row['success_rate_occurred']:.2f} of the {row['occurred']} disturbed"


def _write(path: Path, report: Mapping[str, Any]) -> None:
    files.atomic_write(path, json.dumps(report, indent=2).encode())
