"""``silri bench SUITE``: run a benchmark's cells, resumably, and report on them."""

from __future__ import annotations

import contextlib
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console as RichConsole

from silri.bench.origins import differing
from silri.bench.records import SUFFIX
from silri.bench.report.report import write_report
from silri.bench.results import collect, read_results
from silri.bench.run.pinning import cores
from silri.bench.run.plan import (
    Job,
    State,
    link_shared,
    make_plan,
    refuse_others,
    seconds_left,
    stages_left,
)
from silri.bench.run.runner import LocalStarter, Starter, last_line, run_suite
from silri.bench.suite import Suite, cells
from silri.bench.suite_file import built_in_names, load_suite
from silri.cli.main import DONE, FAILED, INTERRUPTED
from silri.cli.terminal.arguments import parse
from silri.cli.terminal.bench_progress import Display, duration
from silri.cli.terminal.signals import stop_on_signal
from silri.core.errors import ConfigError, UsageError
from silri.store.safety.space import check_writable

DESCRIPTION = f"""Run a suite: tasks x variants x people x seeds, each cell a run folder of its own
made by 'silri train'. Built in: {", ".join(built_in_names())}; or a path to your own .toml. Run it
again to go on: what is done is never run twice, what was interrupted is resumed."""


@dataclass(frozen=True)
class Arguments:
    """Flags of ``silri bench``."""

    suite: Annotated[str, tyro.conf.Positional]  # a built-in suite, or a path ending in .toml
    out: Path = Path("runs/bench")  # holds a folder per suite
    jobs: int | None = None  # cells at a time; default one per core
    ray: str | None = None  # 'local', or the address of a cluster that shares this file system
    tasks: tuple[str, ...] = ()  # only these
    variants: tuple[str, ...] = ()  # only these
    people: tuple[str, ...] = ()  # only these
    seeds: tuple[int, ...] = ()  # only these
    dry_run: bool = False  # show the cells and their state, and stop
    skip_disturbance: bool = False  # leave out the evaluations with disturbances
    report: bool = False  # run nothing; report on what is done
    collect: Path | None = None  # run nothing; write what is done into this table, NAME.jsonl.gz
    results: Path | None = None  # with --report: a table, or a folder of run folders
    report_dir: Path | None = None  # with --report: where to; default beside what is read
    figures: tuple[str, ...] = ()  # with --report: only these, e.g. curves_steps; default all

    def __post_init__(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise ConfigError(f"--jobs takes 1 or more, got {self.jobs}")
        of_report = (self.results, self.report_dir, self.figures or None)
        if not self.report and any(value is not None for value in of_report):
            raise UsageError(
                "--results, --report-dir and --figures say what --report reads and writes"
            )
        if self.collect is not None and not self.collect.name.endswith(SUFFIX):
            raise UsageError(f"--collect takes a file NAME{SUFFIX}, got {self.collect}")
        if self.report and self.collect is not None:
            raise UsageError("--report and --collect exclude each other; give one after the other")
        filters = ("tasks", "variants", "people", "seeds")
        given = [f"--{name}" for name in filters if getattr(self, name)]
        if given and (self.report or self.collect is not None):
            raise UsageError(
                f"{', '.join(given)} choose what is run; reports and collections are of all that "
                "is done"
            )


def main(arguments: list[str]) -> int:
    """Run and return the exit code."""
    chosen: Arguments = parse(
        Arguments, arguments, prog="silri bench", description=DESCRIPTION, flags=True
    )
    suite = load_suite(chosen.suite)
    for path in (chosen.collect, chosen.report_dir, None if chosen.report else chosen.out):
        if path is not None and not chosen.dry_run:
            check_writable(path)
    if chosen.results is None and (chosen.collect is not None or chosen.report):
        refuse_others(make_plan(cells(suite), chosen.out))
    if chosen.collect is not None:
        count, rows = collect(suite, chosen.out / suite.name, chosen.collect)
        print(f"{count} runs collected: {chosen.collect}, {rows} rows")
        return DONE
    return _report(chosen, suite) if chosen.report else _run(chosen, suite)


def _report(chosen: Arguments, suite: Suite) -> int:
    source = chosen.results or chosen.out / suite.name
    beside = source / "report" if source.is_dir() else source.with_name(suite.name)
    target = chosen.report_dir or beside
    words = ["silri", "bench", chosen.suite, "--report"]
    words += ["--out", str(chosen.out)] if chosen.results is None else ["--results", str(source)]
    words += ["--report-dir", str(target)] if chosen.report_dir else []
    words += ["--figures", *chosen.figures] if chosen.figures else []
    results = read_results(suite, source)
    if chosen.results is not None:  # run folders of another configuration were refused before
        done = [run.cell for run in results.runs]
        others = differing(results.origins, done)
        results = replace(results, differing=others)
        if others:
            print(f"{len(others)} runs had another configuration; the report says which")
    page = write_report(results, target, shlex.join(words), chosen.figures or None)
    print(f"{len(results.runs)} of {results.expected} cells: {target / 'report.md'}   {page}")
    return DONE


def _run(chosen: Arguments, suite: Suite) -> int:
    jobs = make_plan(
        cells(suite, chosen.tasks, chosen.variants, chosen.people, chosen.seeds),
        chosen.out,
    )
    if not jobs:
        raise UsageError(f"no cell of {suite.name} is left with these filters")
    disturbances = suite.disturbances and not chosen.skip_disturbance
    if chosen.dry_run:
        _print_plan(jobs, chosen.jobs or len(cores()), disturbances)
        return DONE
    refuse_others(jobs)
    if shared := link_shared(jobs, chosen.out):
        print(f"{len(shared)} cells are finished runs of other suites in {chosen.out}: linked")
    with (
        _starter(chosen) as starter,  # first: Ray sets a handler of its own for SIGTERM
        stop_on_signal() as stop,
        Display(suite.name, jobs, starter.slots, disturbances=disturbances) as display,
    ):
        outcomes = run_suite(jobs, starter, display, disturbances=disturbances, stop=stop)
        stopped = stop()
    failed = [outcome for outcome in outcomes if outcome.problem]
    for outcome in failed:
        print(f"failed: {outcome.job.cell.name} ({outcome.stage}): {outcome.problem}")
        print(f"        {outcome.job.log}: {last_line(outcome.job.log)}")
    if left := sum(outcome.elsewhere for outcome in outcomes):
        print(f"{left} cells were left to the processes that run them: call this again later")
    if stopped:
        print(f"stopped; everything is saved. Go on with the same command: {suite.name}")
        return INTERRUPTED
    return FAILED if failed else DONE


@contextlib.contextmanager
def _starter(chosen: Arguments) -> Iterator[Starter]:
    """Where the cells run."""
    if chosen.ray is None:
        yield LocalStarter(chosen.jobs or len(cores()))
        return
    from silri.bench.run.on_ray import RayStarter

    starter = RayStarter.connect(chosen.ray, chosen.jobs)
    try:
        yield starter
    finally:
        starter.close()


def _print_plan(jobs: list[Job], slots: int, disturbances: bool) -> None:
    console = RichConsole(soft_wrap=True, highlight=False)
    width = max(len(job.cell.name) for job in jobs)
    for job in jobs:
        progress = f" {job.progress:.0%}" if job.state in (State.RESUME, State.RUNNING) else ""
        detail = f"  {'; '.join(job.differences)}" if job.differences else ""
        if stages_left(job, disturbances=disturbances) == ["disturbance"]:
            detail = ", but for its evaluation with disturbances"
        text = f"{job.cell.name:{width}}  {job.cell.steps:>7,} steps  "
        console.print(text + job.state.value + progress + detail, markup=False)
    counts = Counter(job.state for job in jobs)
    words = ", ".join(f"{counts[state]} {state.value}" for state in State if counts[state])
    left, measured = seconds_left(jobs, slots, disturbances=disturbances)
    basis = "from the runs that are done" if measured else "a guess: no run is done yet"
    console.print(f"{len(jobs)} cells: {words}; about {duration(left)} with {slots} at a time")
    console.print(f"({basis})")
