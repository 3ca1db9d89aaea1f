"""``silri diagnose`` on runs that were really made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from silri.diagnosis.evidence import gather


def test_a_run_in_which_the_person_does_everything(silri):
    """Sick on purpose: the person takes over in the first step and never lets go."""
    always = ("--operator.gate.probability", "1", "--operator.gate.hold", "50", "60")
    code = silri.train("--out", "run", "--steps", "60", "--evaluation.every", "0", *always)
    assert code == 0, silri.err
    assert silri("diagnose", "run") == 0, silri.err
    assert "person-drives" in silri.out
    assert "A person drives most of the time" in silri.out
    assert "page: run/diagnosis.html" in silri.out
    page = Path("run/diagnosis.html").read_text()
    assert page.count("data:image/png;base64,") == page.count("<section>") >= 1

    # The last line of a run that is being written may be torn.
    log = Path("run/metrics.jsonl")
    log.write_text(log.read_text() + '{"step": 61, "episode/len')
    run = gather(Path("run"))
    assert len(run.demonstrations) == 2
    assert run.recent
    assert run.steps >= 60


def test_what_is_no_run_is_one_line(silri):
    Path("empty").mkdir()
    for folder, words in (("empty", "has no config.json"), ("nowhere", "does not exist")):
        assert silri("diagnose", folder) == 2
        assert words in silri.err
        assert len(silri.err.splitlines()) == 1
    assert silri("diagnose") == 2
    assert "silri diagnose runs/A" in silri.err


@pytest.mark.parametrize("logged", ["", json.dumps({"half": 1})[:5]])
def test_a_run_that_has_logged_nothing_yet(silri, logged):
    assert silri.train("--out", "run", agent="bc") == 0, silri.err
    Path("run/metrics.jsonl").write_text(logged)
    assert silri("diagnose", "run") == 2
    assert "has logged nothing yet" in silri.err
