"""Runs a command and takes it along when its owner dies: ``python -m ... LIFELINE COMMAND ...``.

Ray's processes start others and do not always end with each other. This one begins a session, so
that all of them can be found, and ends the session when the command ends or the run's supervisor
does. It imports next to nothing: it is there before Ray is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from silri.runtime.cluster.lifeline import watch


def end_session(leader: int) -> None:
    """Kill every process of the session that ``leader`` began (Ray's workers have own groups).

    Twice: a process may have started another between our looking and its end. The caller is the
    last to go, if it is one of them.
    """
    for _ in range(2):
        for pid in psutil.pids():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if os.getsid(pid) == leader and pid != os.getpid():
                    os.kill(pid, signal.SIGKILL)
    if os.getsid(0) == leader:
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Never returns."""
    if os.getsid(0) != os.getpid():
        os.setsid()
    lifeline, *command = sys.argv[1:]
    watch(Path(lifeline), lambda: end_session(os.getpid()))
    subprocess.Popen(command, stdin=subprocess.DEVNULL).wait()
    end_session(os.getpid())


if __name__ == "__main__":
    main()
