"""``silri record`` with a person at a device."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from silri.core.seeding import Stream, derive_seed
from silri.store.dataset import read_dataset
from tests.cli.taught import DRIVE, IDLE, PAD, actions, attempt, write


def record(silri, moments, episodes, *more):
    path = write(Path(f"input-{len(moments)}.jsonl"), moments)
    return silri("record", *PAD, path, "--episodes", episodes, "--rate-hz", 0, *more)


def after_a_pause(moments):
    """The loop looks again before it acts: the first decision moves nothing."""
    return [moments[0], *moments]


def press(button, held=(DRIVE,)):
    """Pressed in a moment that is not a step: the decision obeys it first."""
    return ({}, (*held, button))


def test_a_person_s_demonstrations_are_stored_as_they_were_driven(silri):
    first, second = attempt(0), attempt(1)
    moments = [IDLE, *after_a_pause(first[:1]), IDLE, *after_a_pause(first[1:]), *second]
    assert record(silri, moments, 2, "--out", "demos") == 0, silri.err
    episodes = read_dataset(Path("demos"))
    assert [episode.operator for episode in episodes] == ["gamepad", "gamepad"]
    for episode, driven in zip(episodes, (first, second), strict=True):
        assert episode.success
        assert episode.frames["is_intervention"].all()
        np.testing.assert_allclose(episode.frames["human_action"], actions(driven), atol=1e-6)
        np.testing.assert_allclose(episode.frames["action"], actions(driven), atol=1e-6)
    assert f"demonstration 1 of 2: {len(first)} steps" in silri.out


def test_a_discarded_attempt_is_not_kept_and_another_layout_comes(silri):
    moments = [*attempt(0, steps=1), press("back"), *attempt(1)]
    assert record(silri, moments, 1, "--out", "demos") == 0, silri.err
    (episode,) = read_dataset(Path("demos"))
    assert episode.seed == derive_seed(0, Stream.DEMO_LAYOUT, 1)


def test_after_a_reset_the_same_layout_comes_again(silri):
    moments = [*attempt(0, steps=1), press("b"), *attempt(0)]
    assert record(silri, moments, 1, "--out", "demos") == 0, silri.err
    (episode,) = read_dataset(Path("demos"))
    assert episode.seed == derive_seed(0, Stream.DEMO_LAYOUT, 0)
    assert len(episode) == len(attempt(0))


def test_a_person_says_what_counts_as_a_success(silri):
    moments = [*attempt(0, steps=2), press("y")]
    assert record(silri, moments, 1, "--env.reward", "sparse", "--out", "demos") == 0, silri.err
    (episode,) = read_dataset(Path("demos"))
    assert len(episode) == 2
    assert episode.frames["terminated"].tolist() == [False, True]
    assert episode.frames["reward"][-1] == 10.0


def test_a_recording_that_ends_too_early_keeps_what_there_is_and_goes_on_later(silri):
    assert record(silri, [*attempt(0), IDLE], 2, "--out", "demos") == 0, silri.err
    assert "1 demonstrations in demos" in silri.out
    assert record(silri, attempt(1), 2, "--out", "demos") == 0, silri.err
    assert len(read_dataset(Path("demos"))) == 2


def test_an_unplugged_device_is_told_and_recording_goes_on(silri):
    path = write(Path("input.jsonl"), attempt(0))
    lines = path.read_text().splitlines()
    gone = ['{"t": 0.05, "kind": "gone", "data": "unplugged"}', '{"t": 0.06, "kind": "back"}']
    at = next(index for index, line in enumerate(lines) if '"t": 0.1,' in line)
    path.write_text("\n".join([*lines[:at], *gone, *lines[at:]]))
    out = ["--episodes", 1, "--rate-hz", 0, "--out", "demos"]
    assert silri("record", *PAD, path, *out) == 0, silri.err
    assert "the gamepad is gone (unplugged); the robot stands still" in silri.out
    assert "the gamepad is back" in silri.out
    assert len(read_dataset(Path("demos"))) == 1


def test_time_passes_as_in_life_for_a_person(silri):
    path, out = write(Path("input.jsonl"), attempt(0)), ["--episodes", 1, "--out"]
    began = time.monotonic()
    assert silri("record", *PAD, path, *out, "fast", "--rate-hz", 0) == 0
    fast = time.monotonic() - began
    began = time.monotonic()
    assert silri("record", *PAD, path, *out, "slow") == 0  # the environment's 10 Hz
    slow = time.monotonic() - began
    steps = len(attempt(0))
    assert slow - fast > (steps - 1) / 10.0 - 0.3
    assert slow > (steps - 1) / 10.0


def test_a_wrong_rate_and_a_damaged_recording_are_one_line(silri):
    Path("bad.jsonl").write_text("no json")
    assert silri("record", *PAD, "bad.jsonl", "--out", "demos") == 1
    assert "bad.jsonl, line 1 is no JSON" in silri.err
    assert silri("record", *PAD, "bad.jsonl", "--out", "demos", "--rate-hz", "-1") == 2
    assert "--rate-hz takes 0 or more, got -1.0" in silri.err
    assert not Path("demos").exists()


def test_input_can_be_recorded_and_played(silri):
    """What one person did, twice: the file that a recording writes is a twin."""
    path = write(Path("input.jsonl"), attempt(0))
    assert silri("record", *PAD, path, "--episodes", 1, "--rate-hz", 0, "--out", "a") == 0
    copy = ["--operator.record-input", "copy.jsonl"]
    assert silri("record", *PAD, path, *copy, "--out", "b") == 2
    assert "exclude each other" in silri.err


@pytest.mark.alone
@pytest.mark.slow
def test_a_person_at_a_terminal_teaches_a_simulated_arm(tmp_path):
    """Through a pseudo terminal only: reads the live line, types keys, as over SSH."""
    master, slave = pty.openpty()
    command = [
        *(sys.executable, "-m", "silri.cli.main", "record", "--operator", "terminal"),
        *("--env", "metaworld/reach-v3", "--episodes", "2", "--out", str(tmp_path / "demos")),
    ]
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        env={
            **os.environ, "TERM": "xterm", "COLUMNS": "160", "PYTHONPATH": os.pathsep.join(sys.path)
        },
    )  # fmt: skip
    os.close(slave)
    keys = {
        "forward": "\x1b[A", "back": "\x1b[B", "right": "\x1b[C", "left": "\x1b[D", "up": "w",
        "down": "s",
    }  # fmt: skip
    shown, end = "", time.monotonic() + 90
    while process.poll() is None:
        assert time.monotonic() < end, shown[-2000:]
        if select.select([master], [], [], 0.05)[0]:
            try:
                shown += os.read(master, 4096).decode(errors="replace")
            except OSError:  # it is done
                break
        ways = re.findall(r"goal ((?:\d+ \w+ )+)cm", shown[-400:])
        wanted = re.findall(r"(\d+) (\w+)", ways[-1]) if ways else []
        if wanted:
            os.write(master, keys[max(wanted, key=lambda way: int(way[0]))[1]].encode())
    process.wait(10)
    os.close(master)
    assert process.returncode == 0, shown[-2000:]
    episodes = read_dataset(tmp_path / "demos")
    assert len(episodes) == 2
    for episode in episodes:
        assert episode.success
        assert episode.frames["is_intervention"].all()
        moved = np.abs(episode.frames["action"][:, :3])
        assert set(np.unique(moved)) <= {0.0, 1.0}
        assert moved.any(axis=0).sum() >= 2
