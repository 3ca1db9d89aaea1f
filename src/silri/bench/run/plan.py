"""What of a suite is done, what is to resume, what is missing, and what is in the way."""

from __future__ import annotations

import enum
import fcntl
import json
import os
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from silri.bench.suite import Cell
from silri.configs.run import RunConfig
from silri.configs.serialize import differences, to_json
from silri.core.errors import ConfigError, DataError, SilriError
from silri.runtime.keeping.folder import RunFolder
from silri.store.safety import files

# Only for an estimate before any run of the suite is done: a step with its learner iteration on
# one core of a laptop, and all that a run does besides.
GUESSED_STEP_S, GUESSED_FIXED_S = 0.05, 60.0
GUESSED_DISTURBANCE_S = 30.0  # an evaluation with disturbances; nothing writes down what it took
LOCK_TRIES, LOCK_WAIT_S = 3, 0.02


class State(enum.Enum):
    """Of one cell; the value is what tables show."""

    DONE = "done"
    RUNNING = "running"
    RESUME = "to resume"
    MISSING = "missing"
    OTHER = "other config"
    WAITS = "waits"  # for the cell whose human-driven steps are its budget


@dataclass(frozen=True)
class Job:
    """A cell with the place and the state of its run.

    Attributes:
        cell: of the suite.
        folder: of the run; of another suite's, if it is the same run and finished there.
        config: that the suite asks for.
        state: of the folder when it was looked at.
        differences: from ``config``, for :attr:`State.OTHER`.
        wall_s: of a completed run, as it measured itself; None for others.
        progress: share of the budget that is done.
    """

    cell: Cell
    folder: RunFolder
    config: RunConfig
    state: State
    differences: tuple[str, ...] = ()
    wall_s: float | None = None
    progress: float = 0.0

    @property
    def log(self) -> Path:
        """Output of the run's processes; its lock says that one of them is alive."""
        return log_path(self.folder.path)

    @property
    def disturbance(self) -> Path:
        """What ``silri eval --disturbance`` writes."""
        return self.folder.path / "disturbance.json"

    def look_again(self) -> Job:
        """The same job with the state of its folder now."""
        if self.state is State.WAITS:
            return make_plan([self.cell], self.folder.path.parent.parent)[0]
        return examine(self.cell, self.folder.path, self.config)


def log_path(folder: Path) -> Path:
    """The log beside a run folder; of a link, beside the folder itself, whose lock counts."""
    folder = folder.resolve() if folder.is_symlink() else folder
    return folder.with_name(f"{folder.name}.log")


def make_plan(chosen: Iterable[Cell], out: Path) -> list[Job]:
    """Resolve the configuration of every cell and look at its folder.

    Args:
        chosen: the cells, in the order in which they are to run.
        out: holds a folder per suite.

    Raises:
        ConfigError: an override of the suite does not fit; names its file, row and field.
    """
    jobs = []
    others: dict[str, list[Path]] = {}
    for folder in sorted(out.glob("*/*/")):
        if not folder.is_symlink():
            others.setdefault(folder.name, []).append(folder)
    for cell in chosen:
        path = out / cell.suite.name / cell.name
        budget = None
        if cell.source is not None:
            budget = _driven(out / cell.suite.name / cell.source.name)
            if budget is None:
                jobs.append(Job(cell, RunFolder(path), cell.config(), State.WAITS))
                continue
        config = cell.config(budget)
        job = examine(cell, path, config)
        if job.state is not State.DONE and path.is_symlink():
            # The other suite has raised its budget or removed the run, or this one asks for more:
            # its run is not ours to change.
            job = Job(cell, job.folder, config, State.MISSING)
        if job.state is State.MISSING and (path.is_symlink() or not path.exists()):
            job = _finished_elsewhere(job, others.get(cell.name, ()))
        jobs.append(job)
    return jobs


def _driven(folder: Path) -> int | None:
    """Human-driven steps of a completed run; None if it is not."""
    summary = read_summary(RunFolder(folder).summary)
    return int(summary["intervention_steps"]) if summary.get("completed") is True else None


def _finished_elsewhere(job: Job, folders: Iterable[Path]) -> Job:
    """The same run, finished for another suite; else the job as it is."""
    for folder in folders:
        try:
            other = examine(job.cell, folder, job.config)
        except SilriError:  # a damaged summary is that suite's to report
            continue
        if other.state is State.DONE:
            return other
    return job


def link_shared(jobs: Iterable[Job], out: Path) -> list[Path]:
    """Show finished runs of other suites in this suite's folder, too, by a relative link.

    Links to runs that are not this suite's any more are removed: such a cell gets its own.

    Returns:
        The links that were made.
    """
    made = []
    for job in jobs:
        place = out / job.cell.suite.name / job.cell.name
        if job.folder.path == place:
            if job.state is State.MISSING and place.is_symlink():
                files.remove(place)
            continue
        if place.is_symlink() and place.resolve() == job.folder.path.resolve():
            continue
        files.make_dir(place.parent)
        # Either may lie behind links of the user's own, to another disk.
        files.link(os.path.relpath(job.folder.path.resolve(), place.parent.resolve()), place)
        made.append(place)
    return made


def examine(cell: Cell, path: Path, config: RunConfig) -> Job:
    """The state of one cell's run folder; a run with a smaller budget is to go on."""
    folder = RunFolder(path)
    if not path.exists() or (path.is_dir() and all(map(_is_rest, path.iterdir()))):
        state = State.RUNNING if is_locked(log_path(path)) else State.MISSING
        return Job(cell, folder, config, state)
    try:
        stored = RunFolder.open(path)[1]
        steps = config.steps if stored.steps < config.steps else stored.steps
        differ = differences(to_json(replace(stored, steps=steps)), to_json(config))
    except SilriError as error:
        stored, differ = config, [str(error)]
    if differ:
        return Job(cell, folder, config, State.OTHER, tuple(differ))
    summary = read_summary(folder.summary)
    steps_done = float(summary.get("env_steps", 0))
    progress = min(steps_done / max(config.steps, 1), 1.0)
    # The steps as well: a summary may still be that of a smaller budget, which was completed.
    reached = stored.steps == config.steps and (
        steps_done >= config.steps or not config.agent.learns_online
    )
    if summary.get("completed") is True and reached:
        state, progress = State.DONE, 1.0
    elif is_locked(log_path(path)):
        state = State.RUNNING
    elif (folder.checkpoints / "last").exists():
        state = State.RESUME
    else:  # killed before its first checkpoint
        state = State.MISSING
    done = state is State.DONE
    wall = float(summary.get("wall_s") or 0.0) if done else None
    return Job(cell, folder, config, state, wall_s=wall, progress=progress)


def read_summary(path: Path) -> dict[str, Any]:
    """A run's ``summary.json``; empty if there is none yet.

    Raises:
        DataError: it is damaged.
    """
    if not path.is_file():
        return {}
    remedy = "restore it, or remove the run folder to run this cell again"
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is damaged ({error}); {remedy}") from error
    if not isinstance(summary, dict):
        raise DataError(f"{path} holds no JSON object; {remedy}")
    return summary


def refuse_others(jobs: Sequence[Job]) -> None:
    """Nothing is run while a folder holds another run than the suite asks for.

    Raises:
        ConfigError: naming every such folder and the differing fields.
    """
    others = [job for job in jobs if job.state is State.OTHER]
    if not others:
        return
    lines = [f"  {job.folder.path}: {'; '.join(job.differences)}" for job in others]
    raise ConfigError(
        f"{len(others)} run folders hold another configuration than the suite asks for "
        "(theirs -> the suite's):\n" + "\n".join(lines) + "\nMove or remove them, give another "
        "--out, or change the suite back; nothing was done."
    )


def lock(log: TextIO) -> bool:
    """Take the lock of an open log; False if somebody has it.

    The lock belongs to the open file, which a cell's processes inherit as their output: it is held
    as long as one of them lives, even if the benchmark itself was killed.
    """
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(log.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_WAIT_S)  # somebody may only be looking whether it is taken
        else:
            return True
    return False


def is_locked(log: Path) -> bool:
    """Whether a process of the cell with this log is alive."""
    if not log.exists():
        return False
    with log.open("rb") as file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def clear(job: Job) -> None:
    """Remove what a run that was killed before its first checkpoint has left.

    Raises:
        SilriError: it has a checkpoint by now, or is done.
    """
    folder = job.folder
    if (folder.checkpoints / "last").exists() or read_summary(folder.summary).get("completed"):
        raise SilriError("another process has run it meanwhile")
    if folder.path.exists():
        files.remove_tree(folder.path)


def stages_left(job: Job, *, disturbances: bool) -> list[str]:
    """What is left to do for a cell: "train", and "disturbance" if such evaluations are wanted."""
    stages = [] if job.state is State.DONE else ["train"]
    if disturbances and (stages or not job.disturbance.exists()):
        stages.append("disturbance")
    return stages


def seconds_left(
    jobs: Sequence[Job], workers: int, *, disturbances: bool = False
) -> tuple[float, bool]:
    """How long the jobs that are not done will take, and whether that is measured.

    A run takes as long as the median of those that are done with the same task and variant, else
    the same variant, else any; before the first one is done it is a guess. An evaluation with
    disturbances is always one.
    """
    done = [job for job in jobs if job.wall_s]
    left = []
    for job in jobs:
        stages = stages_left(job, disturbances=disturbances) if job.state is not State.OTHER else []
        run = _seconds(job, done) * (1.0 - job.progress) if "train" in stages else 0.0
        left.append(run + GUESSED_DISTURBANCE_S * ("disturbance" in stages))
    return max(sum(left) / max(workers, 1), *left, 0.0), bool(done)


def _seconds(job: Job, done: Sequence[Job]) -> float:
    def like(other: Job, *fields: str) -> bool:
        return all(getattr(other.cell, f) == getattr(job.cell, f) for f in fields)

    for fields in (("task", "variant", "steps"), ("variant", "steps"), ("steps",)):
        walls = [other.wall_s for other in done if other.wall_s and like(other, *fields)]
        if walls:
            return statistics.median(walls)
    return GUESSED_FIXED_S + GUESSED_STEP_S * job.cell.steps


def _is_rest(path: Path) -> bool:
    return path.name.endswith(files.TEMPORARY)
