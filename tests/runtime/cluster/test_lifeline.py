"""Held by the living, released by death, whichever death it is; never by a child's life."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from silri.core.errors import RunFolderError
from silri.runtime.cluster import lifeline as module
from silri.runtime.cluster.lifeline import Lifeline, is_held, watch

OWNER = """
import subprocess, sys
from pathlib import Path
from silri.runtime.cluster.lifeline import Lifeline
lifeline = Lifeline(Path(sys.argv[1]))
child = subprocess.Popen(["sleep", "600"], close_fds=False, stdout=subprocess.DEVNULL)
print(lifeline.path, child.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def owner(tmp_path):
    """A process that holds a lifeline and has a child that lives on."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    path, child = process.stdout.readline().split()
    yield process, type(tmp_path)(path)
    os.kill(int(child), signal.SIGKILL)
    process.kill()
    process.communicate()


def test_held_until_it_is_released(tmp_path):
    lifeline = Lifeline(tmp_path)
    assert is_held(lifeline.path)
    assert is_held(lifeline.path)  # looking does not hold it
    lifeline.release()
    assert not is_held(lifeline.path)
    assert list(tmp_path.iterdir()) == []
    lifeline.release()


def test_one_that_never_was(tmp_path):
    assert not is_held(tmp_path / "lifeline-1")


def test_sigkill_releases_it_though_a_child_lives_on(owner):
    process, path = owner
    assert is_held(path)
    process.kill()
    process.wait()
    assert path.exists()
    assert not is_held(path)


def test_a_watcher_hears_of_a_death_once(owner, monkeypatch):
    process, path = owner
    monkeypatch.setattr(module, "POLL_S", 0.01)
    heard, calls = threading.Event(), []
    watch(path, lambda: (calls.append(1), heard.set()))
    assert not heard.is_set()
    process.kill()
    process.wait()
    assert heard.wait(30)
    assert calls == [1]


def test_a_watcher_of_the_dead_hears_at_once(tmp_path):
    heard = threading.Event()
    watch(tmp_path / "lifeline-1", heard.set)
    assert heard.wait(30)


def test_the_files_of_dead_owners_are_removed(owner, tmp_path):
    process, path = owner
    process.kill()
    process.wait()
    lifeline = Lifeline(tmp_path)
    assert not path.exists()
    assert is_held(lifeline.path)
    lifeline.release()


def test_a_second_owner_is_refused_while_the_first_lives(owner, tmp_path):
    process, path = owner
    with pytest.raises(RunFolderError, match=f"in use by process {process.pid}"):
        Lifeline(tmp_path)
    assert is_held(path)


def test_a_lock_that_is_about_to_be_taken_is_not_removed_for_good(tmp_path, monkeypatch):
    """Somebody removes the file between its making and its locking; it is made again."""
    original, removed = module.fcntl.flock, []

    def flock(descriptor, operation):
        if operation == module.fcntl.LOCK_EX and not removed:
            (path,) = tmp_path.glob("lifeline-*")
            path.unlink()
            removed.append(path)
        original(descriptor, operation)

    monkeypatch.setattr(module.fcntl, "flock", flock)
    lifeline = Lifeline(tmp_path)
    assert removed == [lifeline.path]
    assert is_held(lifeline.path)
    lifeline.release()


def test_the_next_owner_waits_for_those_who_are_about_to_leave(owner, tmp_path, monkeypatch):
    """A watcher of the dead owner still lives: this process, whose lock goes with it."""
    process, path = owner
    monkeypatch.setattr(module, "LEAVE_S", 0.0)
    monkeypatch.setattr(module, "POLL_S", 0.01)
    watch(path, lambda: None)
    process.kill()
    process.wait()
    with pytest.raises(RunFolderError, match="processes of an earlier start still use"):
        Lifeline(tmp_path)
