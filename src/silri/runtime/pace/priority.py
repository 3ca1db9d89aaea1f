"""Who gets which core: the control loop first, the learner what is left.

Nothing here raises for lack of permission: what could not be had is in the report.

    core = control_core()            # in the parent, before anything is pinned
    favour_control(core)             # in the control process: before JAX is imported
    favour_control(core, fifo=True)  # when everything is compiled, before every episode
    yield_to_control(core)           # in the learner's process: before JAX is imported

XLA sizes its thread pool when it is first used, by the cores that the process may use then.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

FIFO_PRIORITY = 10  # of 1 to 99: above every ordinary process, below the kernel's own threads
FIFO_LIMIT_S = 1.0  # of computing without ever blocking; then FIFO is given back
CONTROL_NICE = -10
LEARNER_NICE = 10
# What sizes a thread pool where it cannot see its process's cores. NPROC is XLA's.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NPROC",
)


@dataclass(frozen=True)
class Report:
    """What a process asked the system for.

    Attributes:
        obtained: what it has now.
        refused: what it has not, and why.
    """

    obtained: tuple[str, ...]
    refused: tuple[str, ...]

    def __str__(self) -> str:
        refused = f" (not: {'; '.join(self.refused)})" if self.refused else ""
        return (", ".join(self.obtained) or "no change") + refused


def control_core() -> int | None:
    """The core to keep for control, or None where one cannot be kept.

    The last one: interrupts are served by the first.
    """
    if sys.platform != "linux":
        return None
    cores = os.sched_getaffinity(0)
    return max(cores) if len(cores) >= 2 else None


def favour_control(core: int | None, *, fifo: bool = False) -> Report:
    """Give this process the core, and precedence over every other process there.

    Args:
        core: of :func:`control_core`; None: no pinning.
        fifo: ask for ``SCHED_FIFO``, which an ordinary process cannot delay. Only when all is
            compiled: who computes for longer than ``FIFO_LIMIT_S`` without blocking loses it.
            Ask again before every episode (it takes a fraction of a millisecond), because what
            is done between episodes may have lost it. Call it on the main thread, which must
            be the one with the control loop; the process's other threads come one priority
            behind it. Child processes inherit both, until they :func:`yield_to_control`.
    """
    wishes = _Wishes()
    if core is not None:
        wishes.ask(f"core {core}", functools.partial(_pin, {core}))
    elif sys.platform == "linux":
        wishes.refused.append("a core of its own: there is only one")
    else:
        wishes.refused.append(f"a core of its own: {sys.platform} has no such thing")
    if not (fifo and wishes.ask(f"SCHED_FIFO {FIFO_PRIORITY}", _take_fifo)):
        wishes.ask(f"nice {CONTROL_NICE}", functools.partial(_renice, CONTROL_NICE))
    return wishes.report()


def yield_to_control(core: int | None) -> Report:
    """Keep this process off the control loop's core, and behind everybody else elsewhere.

    Args:
        core: the one that control has; None where it has none of its own.
    """
    wishes = _Wishes()
    if sys.platform == "linux":
        _release_fifo()  # a child inherits its parent's, and its core
        if core is not None:
            allowed = os.sched_getaffinity(0)
            # A parent that was pinned first leaves its child nothing else.
            others = (allowed - {core}) or set(range(os.cpu_count() or 1)) - {core}
            names = ", ".join(map(str, sorted(others)))
            wishes.ask(f"core {names}", functools.partial(_pin, others))
    # Who started it even nicer than that had a reason.
    value = max(LEARNER_NICE, os.getpriority(os.PRIO_PROCESS, 0))
    wishes.ask(f"nice {value}", functools.partial(_renice, value))
    return wishes.report()


def limit_threads(count: int) -> dict[str, str]:
    """Environment variables for a child process whose libraries shall use ``count`` threads.

    They are read when numpy and JAX are imported, so it is too late for this process.
    """
    return dict.fromkeys(_THREAD_VARIABLES, str(count))


class _Wishes:
    """Tries one thing after the other and keeps the score."""

    def __init__(self) -> None:
        self.obtained: list[str] = []
        self.refused: list[str] = []

    def ask(self, name: str, action: Callable[[], None]) -> bool:
        try:
            action()
        except (OSError, ValueError) as error:  # ValueError: a limit, or not the main thread
            self.refused.append(f"{name}: {error}")
            return False
        self.obtained.append(name)
        return True

    def report(self) -> Report:
        return Report(tuple(self.obtained), tuple(self.refused))


def _threads() -> Iterable[int]:
    """Ids of this process's threads; elsewhere than on Linux 0, which is the whole process."""
    if sys.platform != "linux":
        return [0]
    return [int(entry.name) for entry in Path("/proc/self/task").iterdir()]


def _each_thread(action: Callable[[int], None]) -> None:
    """Linux keeps core, niceness and scheduler per thread; later threads inherit their maker's."""
    for thread in _threads():
        try:
            action(thread)
        except ProcessLookupError:
            continue  # it has ended meanwhile


def _pin(cores: set[int]) -> None:
    if sys.platform == "linux":
        _each_thread(lambda thread: os.sched_setaffinity(thread, cores))


def _renice(value: int) -> None:
    _each_thread(lambda thread: os.setpriority(os.PRIO_PROCESS, thread, value))


def _take_fifo() -> None:
    """FIFO for every thread, with the guard in place first."""
    if sys.platform != "linux":
        raise OSError(f"{sys.platform} has no such scheduler")
    import resource
    import threading

    # SIGXCPU ends a process that does not catch it, so: the handler, then the limit, then FIFO.
    # No hard limit: it kills, and a controller that still holds a robot is worth more than the
    # few percent of one core that the kernel keeps for everybody else in any case.
    signal.signal(signal.SIGXCPU, _on_limit)
    _, hard = resource.getrlimit(resource.RLIMIT_RTTIME)
    resource.setrlimit(resource.RLIMIT_RTTIME, (int(FIFO_LIMIT_S * 1e6), hard))
    own = threading.get_native_id()
    try:
        # This thread first: if it may not have it, the others shall not.
        os.sched_setscheduler(own, os.SCHED_FIFO, os.sched_param(FIFO_PRIORITY))
        behind = os.sched_param(FIFO_PRIORITY - 1)
        _each_thread(
            lambda thread: (
                None if thread == own else os.sched_setscheduler(thread, os.SCHED_FIFO, behind)
            )
        )
    except OSError:
        _release_fifo()
        raise


def _on_limit(signum: int, frame: FrameType | None) -> None:
    """RLIMIT_RTTIME is reached: compute on, as an ordinary process."""
    del signum, frame
    _release_fifo()
    _Wishes().ask("", functools.partial(_renice, CONTROL_NICE))


def _release_fifo() -> None:
    """Every thread back to the ordinary scheduler; always permitted."""
    if sys.platform == "linux":
        _each_thread(
            lambda thread: os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))
        )
