"""``silri reward fit|report``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.fakes.envs.cameras import ENCODER
from tests.fakes.models.classifiers import write_dataset

FIT = (
    "--encoder",
    ENCODER,
    "--size",
    4,
    "--hidden",
    8,
    "--positives",
    1,
    "--margin",
    0,
    "--updates",
    1_000,
)


def said(page):
    """A page without its pictures."""
    return re.sub(r"base64,[^\"']+", "", page.read_text())


def test_a_classifier_is_fitted_and_reported_on(silri):
    write_dataset(Path("data"))
    assert silri("reward", "fit", "--data", "data", "--out", "lamp", *FIT) == 0, silri.err
    assert "looking at " in silri.out
    table = silri.out[silri.out.index("fitted on") : silri.out.index("page:")]
    assert "area under the curve        1.0000" in table
    assert "train with it: silri train --reward.model lamp" in silri.out
    page = said(Path("lamp/report.html"))
    assert silri("reward", "report", "lamp") == 0, silri.err
    assert table in silri.out  # of the same episodes
    assert said(Path("lamp/report.html")) == page
    assert silri("reward", "report", "lamp", "--data", "data", "--consecutive", 3) == 0
    assert "of 20 episodes are left out: it was fitted on them" in silri.out
    assert "with 3 frames in a row" in silri.out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("fit", "--out", "x"), 2, "--data DATASET is missing"),
        (("fit", "--data", "data"), 2, "--out FOLDER is missing"),
        (("fit", "--data", "data", "--out", "x", *FIT), 1, "3 successes and 0 failures"),
        (("report", "nothing"), 1, "nothing holds no success classifier"),
        (("fitt",), 2, "fit"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(silri, arguments, code, message):
    write_dataset(Path("data"), 3, 0)
    assert silri("reward", *arguments) == code
    assert message in silri.err
    assert "Traceback" not in silri.err
    assert not Path("x").exists()


def test_failed_attempts_are_recorded_on_demand(silri):
    """They are no demonstrations, and a second command goes on where the first one stopped."""
    from silri.store.dataset import read_dataset

    given = ("--env", "tests.fakes.models.classifiers:Lamps", "--env.max-episode-steps", 3)
    keep = ("--operator", "steady", "--keep-failures", "True", "--out", "data")
    assert silri("record", *given, *keep, "--episodes", 2) == 0, silri.err
    first = read_dataset(Path("data"))
    assert sum(episode.success for episode in first) == 2
    assert any(not episode.success for episode in first)
    assert all(episode.is_demo == episode.success for episode in first)
    assert "failed attempt kept: 3 steps" in silri.out
    assert silri("record", *given, *keep, "--episodes", 3) == 0, silri.err
    again = read_dataset(Path("data"))
    assert [e.seed for e in again[: len(first)]] == [e.seed for e in first]
    assert sum(episode.success for episode in again) == 3
    assert len({episode.seed for episode in again}) == len(again)
