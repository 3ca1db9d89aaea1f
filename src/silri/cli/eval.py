"""``silri eval RUN``: how often a trained policy succeeds on its own, and when it is disturbed."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from silri.api.evaluation import measure
from silri.cli.main import DONE
from silri.cli.terminal.arguments import parse
from silri.configs.run import RunConfig
from silri.core.errors import ConfigError
from silri.core.protocols import Env
from silri.core.seeding import Stream, derive_seed
from silri.evaluation.disturbance import UNDISTURBED, Row, offered, robustness
from silri.evaluation.evaluate import Actor, EvaluationResult, mean_actor, sampling_actor
from silri.evaluation.statistics import wilson_interval
from silri.evaluation.summary import NOT_JUDGED
from silri.runtime.acting.faults import FaultLog
from silri.runtime.acting.filming import Film, check_filmable
from silri.runtime.acting.judging import judge_of
from silri.runtime.keeping.export import load_policy
from silri.runtime.keeping.folder import RunFolder
from silri.runtime.starting.backend import prepare_jax
from silri.runtime.starting.contract import close_env, required
from silri.store.safety import files
from silri.store.safety.space import check_writable, explained
from silri.store.tools.video import load_av
from silri.vision.sighted import Sighted

DESCRIPTION = """Evaluate the exported policy of a run, or of several: autonomous episodes on fixed
layouts that training never sees, with the mean action (or --sampled), and a 95 % Wilson interval.
With --disturbance also with the object moved once in every episode
(docs/explanation/robustness.md). With --video, or --video N, N episodes are filmed, failures first:
RUN/videos/evaluation_mean/episode_012_failure.mp4. With --env.FIELD VALUE in another setting of the
run's environment, such as --env.phrasings test."""
SHOWN_FAILURES = 20
VIDEOS = 5  # of --video without a number


@dataclass(frozen=True)
class Arguments:
    """Flags of ``silri eval``."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]  # run folders, one or more
    episodes: int = 50  # how many; the first are those of training's evaluations
    sampled: bool = False  # act as in training, by sampling
    video: int = 0  # episodes to film, failures first; without a number 5
    disturbance: bool = False  # undisturbed, and disturbed in every way that the task offers
    json: bool = False  # print one JSON object per run instead of text

    def __post_init__(self) -> None:
        if not self.runs:
            raise ConfigError("RUN is missing: the folder of the run to evaluate, or of several")
        if self.episodes < 1:
            raise ConfigError(f"--episodes takes 1 or more, got {self.episodes}")
        if self.video < 0:
            raise ConfigError(f"--video takes the number of videos, 0 or more, got {self.video}")
        if self.video and self.disturbance:
            raise ConfigError("--video and --disturbance exclude each other: film undisturbed ones")

    @property
    def action(self) -> str:
        """How the policy acts, as reports call it."""
        return "sampled" if self.sampled else "mean"


@dataclass(frozen=True)
class Trained:
    """A run with an exported policy."""

    folder: Path
    acting: Sighted
    config: RunConfig
    setting: str = ""  # what was changed of the environment, as part of a file's name

    def changed(self, flags: list[str]) -> Trained:
        """The same policy in another setting of its environment, ``--field value ...``."""
        if not flags:
            return self
        old = self.config.env
        env = parse(type(old), flags, prog="silri eval", description=DESCRIPTION, default=old)
        setting = "_" + "_".join(re.sub(r"[^\w.]+", "-", flag.lstrip("-")) for flag in flags)
        return replace(self, config=replace(self.config, env=env), setting=setting)

    @classmethod
    def load(cls, path: Path) -> Trained:
        """Open the run folder and its policy."""
        folder, _ = RunFolder.open(path)
        acting, config, _ = load_policy(folder.policy)
        return cls(folder.path, acting, config)

    def actor(self, *, sampled: bool) -> Actor:
        """How it acts."""
        return sampling_actor(self.acting) if sampled else mean_actor(self.acting)


def main(arguments: list[str]) -> int:
    """Evaluate and return the exit code."""
    arguments, changed = _of_environment(arguments)
    chosen: Arguments = parse(
        Arguments, _counted(arguments), prog="silri eval", description=DESCRIPTION, flags=True
    )
    if chosen.video:
        load_av("--video")
    prepare_jax()
    # What an environment prints is no JSON.
    aside = contextlib.redirect_stdout(sys.stderr) if chosen.json else contextlib.nullcontext()
    with aside:
        trained = [Trained.load(path).changed(changed) for path in chosen.runs]
        for run in trained:
            check_writable(run.folder)
        reports = _disturb(chosen, trained) if chosen.disturbance else None
    for run in trained if reports is None else ():
        with aside:
            report = _evaluate(chosen, run)
        _print_json(chosen, report)
    for report in reports or ():
        _print_json(chosen, report)
    return DONE


def _print_json(chosen: Arguments, report: Mapping[str, Any]) -> None:
    if chosen.json:
        print(json.dumps(report), flush=True)


def _of_environment(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Without ``--env.FIELD VALUE ...``; and these, as flags of the environment's settings."""
    rest: list[str] = []
    flags: list[str] = []
    pending = list(arguments)
    while pending:
        argument = pending.pop(0)
        if not argument.startswith("--env."):
            rest.append(argument)
            continue
        flags.append("--" + argument.removeprefix("--env."))
        while "=" not in argument and pending and not pending[0].startswith("--"):
            flags.append(pending.pop(0))
    return rest, flags


def _counted(arguments: list[str]) -> list[str]:
    """The arguments with the number that ``--video`` alone stands for."""
    counted = []
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=False):
        counted.append(argument)
        if argument == "--video" and not following.lstrip("-").isdecimal():
            counted.append(str(VIDEOS))
    return counted


def _filmed(chosen: Arguments, run: Trained, env: Env, first: int) -> Film | None:
    """What films, if something is to."""
    if not chosen.video:
        return None
    with required("env.reset"):  # before that many simulations have nothing to draw
        env.reset(seed=derive_seed(0, Stream.EVALUATION_LAYOUT, first))
    check_filmable(env, "--video")
    folder = RunFolder(run.folder).videos / f"evaluation_{chosen.action}"
    with explained(folder, "the videos"):
        return Film(folder, env, chosen.video, env.env_spec.control_hz, _warn)


def _evaluate(chosen: Arguments, run: Trained) -> dict[str, Any]:
    """Evaluate one run as training does; write the report and, in words, print it."""
    evaluation = replace(run.config.evaluation, videos=chosen.video)
    env = replace(run.config, evaluation=evaluation).create_env()
    first = run.config.evaluation.first_layout
    faults = FaultLog(run.config.env_name, RunFolder(run.folder).errors, _warn)
    try:
        judge = judge_of(run.config, env.env_spec, run.folder)
        film = _filmed(chosen, run, env, first)
        actor = run.actor(sampled=chosen.sampled)
        result = measure(env, actor, chosen.episodes, first, faults, judge, film)
    finally:
        close_env(env, _warn)
    if count := int(result.faults.sum()):
        _warn(f"{count} of {chosen.episodes} episodes broke, at last: {faults.last}")
    metrics = result.metrics()
    failed: list[int] = (first + np.flatnonzero(~result.successes)).tolist()
    report: dict[str, Any] = {
        "run": str(run.folder),
        "action": chosen.action,
        **{k: None if np.isnan(v) else v for k, v in metrics.items()},
        "failed_layouts": failed,
    }
    if film is not None:
        report["videos"] = [str(path.relative_to(run.folder)) for path in film.kept]
    _write(run.folder / f"evaluation_{chosen.action}{run.setting}.json", report)
    if not chosen.json:
        _print_report(chosen, run, result, film, failed)
    return report


def _print_report(
    chosen: Arguments, run: Trained, result: EvaluationResult, film: Film | None, failed: list[int]
) -> None:
    metrics = result.metrics()
    where = run.config.env_name + run.setting.replace("_", " ")
    title = f"{run.config.agent_name} on {where}, {chosen.action} action"
    if "judged" in metrics:
        print(f"{title}: mean return {metrics['mean_return']:.4g} of {chosen.episodes} episodes")
        print(NOT_JUDGED)
        _say_filmed(film)
        return
    wins = int(metrics["successes"])
    steps = f", in {metrics['mean_success_length']:.1f} steps on average" if wins else ""
    print(
        f"{title}: {wins} of {chosen.episodes} succeed, {metrics['success_rate']:.2f} "
        f"[{metrics['ci_low']:.2f}, {metrics['ci_high']:.2f}]{steps}"
    )
    print_tasks(result)
    if "classifier_success_rate" in metrics:
        print(
            f"the success classifier calls {metrics['classifier_success_rate']:.2f} of them a "
            f"success, and is right in {metrics['classifier_agreement']:.2f}"
        )
    if failed:
        shown = failed[:SHOWN_FAILURES]
        more = len(failed) - len(shown)
        print(f"failed layouts: {shown}" + (f" and {more} more" if more else ""))
    _say_filmed(film)


def print_tasks(result: EvaluationResult) -> None:
    """A row of successes per task, where the environment draws one of several."""
    tasks = result.by_task()
    width = max(map(len, tasks), default=0)
    for name, (wins, count) in tasks.items():
        low, high = wilson_interval(wins, count)
        rate = f"{wins / count:.2f} [{low:.2f}, {high:.2f}]"
        print(f"  {name:<{width}}  {wins:3d} of {count:3d}  {rate}")


def _say_filmed(film: Film | None) -> None:
    if film is not None:
        print(f"{len(film.kept)} videos: {film.folder}")


def _disturb(chosen: Arguments, trained: list[Trained]) -> list[dict[str, Any]]:
    """Evaluate every run with and without disturbances; write and print the reports."""
    reports: list[dict[str, Any]] = []
    environments: list[Env] = []
    for run in trained:  # all are checked before the first one takes its minutes
        environments.append(run.config.create_env())
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
        named = {"run": str(run.folder), "agent": run.config.agent_name}
        reports.append({**named, "env": run.config.env_name, **report})
        column = f"{run.config.agent_name} ({run.folder})"
        tables.setdefault(run.config.env_name, {})[column] = rows
    if not chosen.json:
        for env_name, columns in tables.items():
            print(f"{env_name}, {chosen.action} action, {chosen.episodes} episodes per row")
            print("\n".join(_table(columns)))
    return reports


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


def _warn(text: str) -> None:
    print(f"silri eval: {text}", file=sys.stderr)


def _write(path: Path, report: Mapping[str, Any]) -> None:
    with explained(path, "the report"):
        files.atomic_write(path, json.dumps(report, indent=2).encode())
