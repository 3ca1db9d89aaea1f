"""A core for every process of a benchmark, whoever starts it."""

from __future__ import annotations

import fcntl
import itertools
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

# One core per run: libraries that count the machine's cores would fight for it.
_POOLS = ("OMP_NUM", "OPENBLAS_NUM", "MKL_NUM", "VECLIB_MAXIMUM", "NUMEXPR_NUM")
ONE_THREAD = {f"{name}_THREADS": "1" for name in _POOLS}


def platform() -> dict[str, str]:
    """Where cells compute: on the CPU, unless this process's environment says otherwise.

    Cells that share a GPU are slower than with a core each (docs/explanation/scaling.md).
    """
    return {"JAX_PLATFORMS": os.environ.get("JAX_PLATFORMS") or "cpu"}


def cores() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def spawn(
    command: Sequence[str], log: TextIO, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """A process on a core that no other benchmark of this user is on, if there is one.

    It has this process's environment, one thread (``ONE_THREAD``), :func:`platform` and, before
    these, ``environment``. It is deaf to this terminal's Ctrl-C: it is asked to stop once, by us.
    """
    core, claim = _claim_core()
    with claim, _on_core(core):
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **ONE_THREAD, **platform(), **environment},
            pass_fds=(claim.fileno(),),
            start_new_session=True,
        )


def _claim_core() -> tuple[int, TextIO]:
    """The core that the fewest processes have claimed, and the claim.

    A claim is a lock on a file that the process inherits: it ends with the process, however that
    ends, and holds if the benchmark that started it is killed.
    """
    with _lock_file("cores").open("a", encoding="ascii") as turn:
        fcntl.flock(turn.fileno(), fcntl.LOCK_EX)  # one counts and claims at a time
        counts = {core: _claims(core) for core in cores()}
        core = min(counts, key=lambda core: len(counts[core]))
        free = next(number for number in itertools.count() if number not in counts[core])
        claim = _lock_file(f"core{core}-{free}").open("a", encoding="ascii")
        fcntl.flock(claim.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        return core, claim


def _claims(core: int) -> set[int]:
    """The numbers of the claims that processes hold on a core."""
    held = set()
    for path in Path(tempfile.gettempdir()).glob(_lock_file(f"core{core}-*").name):
        with path.open("rb") as file:
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                held.add(int(path.stem.rpartition("-")[2]))
    return held


def _lock_file(name: str) -> Path:
    return Path(tempfile.gettempdir()) / f"silri-bench-{os.getuid()}-{name}.lock"


@contextmanager
def _on_core(core: int) -> Iterator[None]:
    """Processes started inside inherit this core: XLA sizes its thread pool by what it may use."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, mine)
