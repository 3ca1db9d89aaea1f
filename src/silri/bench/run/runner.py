"""Running the cells of a suite: processes of their own, one core each, resumable at any moment."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TextIO

from silri.bench.run.pinning import spawn
from silri.bench.run.plan import Job, State, clear, lock, stages_left
from silri.core.errors import SilriError
from silri.runtime.keeping.folder import RunFolder
from silri.store.safety import files

POLL_S = 0.2
INTERRUPTED = 130  # exit code of a run that was asked to stop and has saved
SILRI = (sys.executable, "-m", "silri.cli.main")


@dataclass(frozen=True)
class Outcome:
    """What came of one cell.

    Attributes:
        job: with the state that it was left in.
        stage: that it ended in: "train" or "disturbance".
        code: exit code of that stage's process; 0 if there was nothing to do.
        problem: why it failed; empty if it did not.
        elsewhere: another process is at this cell; nothing was done here.
    """

    job: Job
    stage: str
    code: int
    problem: str = ""
    elsewhere: bool = False


class Busy(SilriError):
    """Another process is at this cell."""


class Observer(Protocol):
    """Hears of cells."""

    def started(self, job: Job, stage: str) -> None:
        """A stage of a cell begins."""

    def ended(self, outcome: Outcome) -> None:
        """A cell is over, well or not."""

    def waiting(self) -> None:
        """A fraction of a second has passed."""


class Handle(Protocol):
    """A process of a cell, here or elsewhere."""

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""

    def stop(self) -> None:
        """Ask it to save and to end."""

    def kill(self) -> None:
        """End it at once."""


class Starter(Protocol):
    """Where processes run."""

    slots: int

    def start(self, command: Sequence[str], job: Job, slot: int) -> Handle:
        """Start a command of a job; its output goes to the job's log.

        Raises:
            Busy: another process is at this cell.
            SilriError: it cannot be started.
        """


def run_suite(
    jobs: Sequence[Job],
    starter: Starter,
    observer: Observer,
    *,
    disturbances: bool,
    stop: Callable[[], bool] = lambda: False,
) -> list[Outcome]:
    """Run what is not done, in the order given, ``starter.slots`` at a time.

    Args:
        jobs: as :func:`~silri.bench.run.plan.make_plan` found them.
        starter: where the processes run.
        observer: hears of every start and end.
        disturbances: also evaluate every trained policy with disturbances, once.
        stop: when True, nothing more is started, what runs saves itself, and this returns.

    Returns:
        One outcome per cell that was not done; failed ones have a problem, and those that another
        process is at are left to it. A cell that fails does not stop the others.
    """
    waiting = [job for job in jobs if stages_left(job, disturbances=disturbances)]
    waiting.reverse()
    running: dict[int, _Running] = {}
    outcomes: list[Outcome] = []
    stopping = False
    try:
        while running or (waiting and not stop()):
            if stop() and not stopping:
                stopping = True
                for cell in running.values():
                    cell.handle.stop()
            for slot in range(starter.slots):
                if slot not in running and not stop():
                    job = _next(waiting, [cell.job for cell in running.values()])
                    if job is None:
                        break
                    entry = _begin(job, starter, slot, observer, disturbances)
                    if isinstance(entry, Outcome):
                        outcomes.append(entry)
                        observer.ended(entry)
                    else:
                        running[slot] = entry
            for slot, cell in list(running.items()):
                code = cell.handle.poll()
                if code is not None:
                    del running[slot]
                    _go_on(cell, code, starter, slot, observer, running, outcomes, stop())
            observer.waiting()
            time.sleep(POLL_S)
    finally:
        for cell in running.values():  # only if something went wrong here, or Ctrl-C came twice
            cell.handle.kill()
    return outcomes


def _next(waiting: list[Job], running: Sequence[Job]) -> Job | None:
    """Take the job that is to begin now; None if all wait for what is running.

    Args:
        waiting: the first at the end.
        running: jobs that are not done.
    """
    unfinished = {job.cell.name for job in (*waiting, *running)}
    for index in reversed(range(len(waiting))):
        source = waiting[index].cell.source
        if source is None or source.name not in unfinished:
            return waiting.pop(index)
    return None


def train_command(job: Job) -> list[str]:
    """The command that starts or resumes a run, whose folder has its configuration."""
    path = str(job.folder.path)
    return [*SILRI, "train", "--resume", path, "--steps", str(job.config.steps)]


def _command(job: Job, stage: str) -> list[str]:
    if stage == "train":
        return train_command(job)
    return [*SILRI, "eval", str(job.folder.path), "--disturbance"]


@dataclass
class _Running:
    job: Job
    stages: list[str]
    handle: Handle


def _begin(
    job: Job, starter: Starter, slot: int, observer: Observer, disturbances: bool
) -> _Running | Outcome:
    """Start the first stage of a cell, whose folder may have changed since the plan was made."""
    stage = "train"
    try:
        job = job.look_again()
        stages = stages_left(job, disturbances=disturbances)
        if not stages:  # somebody else has done it meanwhile
            return Outcome(job, stage, 0)
        stage = stages[0]
        if job.state is State.RUNNING:
            return Outcome(job, stage, 0, elsewhere=True)
        if job.state is State.WAITS:
            assert job.cell.source is not None
            return Outcome(job, stage, 1, f"needs a completed {job.cell.source.name}: its budget")
        if job.state is State.OTHER:
            return Outcome(job, stage, 1, f"other configuration: {'; '.join(job.differences)}")
        files.make_dir(job.folder.path.parent)
        if stage == "train":
            files.remove(job.disturbance)  # of the policy before a budget was raised
        handle = starter.start(_command(job, stage), job, slot)
    except Busy:
        return Outcome(job, stage, 0, elsewhere=True)
    except (SilriError, OSError) as error:
        return Outcome(job, stage, 1, str(error))
    observer.started(job, stage)
    return _Running(job, stages, handle)


def _go_on(
    cell: _Running,
    code: int,
    starter: Starter,
    slot: int,
    observer: Observer,
    running: dict[int, _Running],
    outcomes: list[Outcome],
    stopping: bool,
) -> None:
    """A process of a cell has ended: its next stage, or its outcome."""
    stage, *left = cell.stages
    outcome = _judge(cell.job, stage, code, stopping)
    if not outcome.problem and outcome.code == 0 and left and not stopping:
        try:
            handle = starter.start(_command(outcome.job, left[0]), outcome.job, slot)
        except Busy:
            outcome = Outcome(outcome.job, left[0], 0, elsewhere=True)
        except (SilriError, OSError) as error:
            outcome = Outcome(outcome.job, left[0], 1, str(error))
        else:
            observer.started(outcome.job, left[0])
            running[slot] = replace(cell, job=outcome.job, stages=left, handle=handle)
            return
    outcomes.append(outcome)
    observer.ended(outcome)


def _judge(job: Job, stage: str, code: int, stopping: bool) -> Outcome:
    """What an exit code means, and whether the files that it promises are there."""
    try:
        job = job.look_again()
    except SilriError as error:
        return Outcome(job, stage, code or 1, str(error))
    if code == INTERRUPTED and stopping:
        return Outcome(job, stage, code)
    if code != 0:
        # Negative: the signal that ended it, e.g. the kernel's when memory ran out.
        words = f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return Outcome(job, stage, code, "" if stopping and code < 0 else words)
    if stage == "train" and job.state is not State.DONE:
        return Outcome(job, stage, 1, f"ended well, but its run is {job.state.value}")
    if stage == "disturbance" and not job.disturbance.exists():
        return Outcome(job, stage, 1, f"ended well, but wrote no {job.disturbance.name}")
    return Outcome(job, stage, 0)


# -- on this machine -----------------------------------------------------------------------------


@dataclass
class LocalStarter:
    """Processes on this machine, each pinned to a core where the system can.

    Attributes:
        slots: how many at a time.
        environment: added to this process's own.
    """

    slots: int
    environment: Mapping[str, str] = field(default_factory=dict)

    def start(self, command: Sequence[str], job: Job, slot: int) -> Handle:
        """Start ``command`` on a core of its own."""
        del slot
        with open_log(job, command) as log:
            return _Local(spawn(command, log, self.environment))


@contextmanager
def open_log(job: Job, command: Sequence[str]) -> Iterator[TextIO]:
    """The job's log, locked and with the command in it.

    A run that has no checkpoint yet begins anew, now that nobody else can be at it: what is left
    of it is removed, and a folder with its configuration is made.

    Raises:
        Busy: somebody else has the lock.
    """
    with job.log.open("a", encoding="utf-8") as log:
        if not lock(log):
            raise Busy("another process runs it")
        if job.state is State.MISSING:
            clear(job)
            RunFolder.create(job.folder.path, job.config)
        log.write(f"$ {' '.join(command)}\n")
        log.flush()
        yield log


class _Local:
    """A process here."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def poll(self) -> int | None:
        return self._process.poll()

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def last_line(log: Path) -> str:
    """The last thing that a cell's processes said."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
