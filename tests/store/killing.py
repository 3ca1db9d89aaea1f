"""Runs a scenario once per write call, killed at that call; afterwards a test looks at the folders.

A process of its own forks the victims: the test process may have JAX threads, which do not
survive a fork, and starting Python for each call would take minutes.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def kill_at_every_write(
    scenario: str, template: Path, where: Path, every: int = 1
) -> list[tuple[str, str]]:
    """Run ``scenario`` on copies of ``template``.

    Args:
        scenario: ``package.module:function``, called with the folder.
        template: the folder to start from, copied for every run.
        where: run n, killed just before its n-th write call (from 1), leaves ``where/n``; the
            run that nobody killed leaves ``where/0``.
        every: only each so-many-th call, from the first.

    Returns:
        The write calls of the whole run, as (step, file name).
    """
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.store.killing", scenario),
            *(str(template), str(where), str(every)),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [tuple(call) for call in json.loads(done.stdout.splitlines()[-1])]


def _main(scenario: str, template: Path, where: Path, every: int) -> None:
    module, _, name = scenario.partition(":")
    run = getattr(importlib.import_module(module), name)
    assert _victim(run, template, where, 0) == 0, f"{scenario} failed by itself"
    calls = json.loads((where / "calls.json").read_text())
    for number in range(1, len(calls) + 1, every):
        code = _victim(run, template, where, number)
        assert code == -signal.SIGKILL, f"run {number} of {scenario} ended with {code}"
    print(json.dumps(calls))  # noqa: T201


def _victim(run: Callable[[Path], None], template: Path, where: Path, number: int) -> int:
    """Run in a fork, killed before write call ``number``; returns how it ended."""
    from silri.store.safety import files

    folder = where / str(number)
    shutil.copytree(template, folder, symlinks=True)
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    calls: list[tuple[str, str]] = []

    def on_write(step: str, path: Path) -> None:
        calls.append((step, path.name))
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    files.on_write = on_write
    code = 1
    try:
        run(folder)
        (where / "calls.json").write_text(json.dumps(calls))
        code = 0
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(code)


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
