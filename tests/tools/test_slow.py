"""``make slow``: two calls of pytest, of which one may select nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "slow.sh"


def slow(tmp_path, alone, others, *arguments):
    """(exit status, what each call of pytest was given) where pytest ends with these statuses."""
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n'
        f'case "$4" in "slow and alone") exit {alone} ;; *) exit {others} ;; esac\n'
    )
    python.chmod(0o755)
    status = subprocess.run([SCRIPT, python, "2", *arguments], check=False).returncode
    return status, (tmp_path / "calls").read_text().splitlines()


@pytest.mark.parametrize(
    ("alone", "others", "status"),
    [(0, 0, 0), (5, 0, 0), (0, 5, 0), (5, 5, 5), (5, 1, 1), (0, 2, 2)],
)
def test_one_part_may_select_nothing(tmp_path, alone, others, status):
    found, calls = slow(tmp_path, alone, others, "-k", "some thing")
    assert found == status
    assert len(calls) == 2
    assert all(call.endswith("-k some thing") for call in calls)


def test_a_failure_of_the_first_part_ends_it(tmp_path):
    assert slow(tmp_path, 1, 0) == (1, ["-m pytest -m slow and alone --durations 5"])
