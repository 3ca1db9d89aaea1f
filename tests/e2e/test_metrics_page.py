"""docs/reference/metrics.md has every number that a run logs, and none that no run does."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from silri.runtime.pace.timing import LoopTiming
from silri.store.dataset import read_dataset
from tests.fakes.runs import metrics, tiny_run, train
from tests.source import ROOT

pytestmark = pytest.mark.slow

TEXT = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
ROWS = [line.split(" | ")[0] for line in TEXT.splitlines() if line.startswith("| `")]
NAMED = {name for row in ROWS for name in re.findall(r"`([^`]+)`", row)}
RUNS = [
    ("silri", "default"),
    ("silri_groups", "default"),
    ("silri_asking", "default"),
    ("hil_serl", "cloned"),
    ("conrft", "default"),
    ("hg_dagger", "default"),
    ("bc", "default"),
]
STAGES = r"^(clone|pretrain|offline)/"
# What a run of seconds does not have: an episode that is set aside, a success of its own, a success
# classifier (tests/runtime/test_judged_run.py), several tasks (tests/runtime/test_told.py).
ELSEWHERE = {
    *("quarantine/id", "evaluation/mean_success_length", "wall_s"),
    *("evaluation/classifier_success_rate", "evaluation/classifier_agreement"),
    *("reward/corrections", "reward/refused"),  # tests/runtime/test_refitting.py
    *("reward/held_out_wrong", "reward/held_out_wrong_before"),
    *("evaluation/success_rate/TASK", "evaluation/episodes/TASK"),
}


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """(agent, preset) -> names in ``metrics.jsonl``, of diagnostics, and the run's folder."""
    found = {}
    for agent, preset in RUNS:
        path = tmp_path_factory.mktemp(f"{agent}-{preset}") / "run"
        train(tiny_run(agent, preset, steps=20), path)
        names = {re.sub(STAGES, "", name) for row in metrics(path) for name in row}
        said = {name for episode in read_dataset(path / "episodes") for name in episode.diagnostics}
        said = {re.sub(r"\.\d+$", ".0", name) for name in said}
        found[agent, preset] = names, said, path
    return found


@pytest.mark.parametrize("run", RUNS, ids=["-".join(run) for run in RUNS])
def test_the_page_has_everything_that_a_run_logs(logged, run):
    names, diagnostics, _ = logged[run]
    assert len(names) > 10
    assert names | diagnostics <= NAMED


def test_the_page_has_nothing_that_no_run_logs(logged):
    every = set().union(*(names | diagnostics for names, diagnostics, _ in logged.values()))
    rate = {name for name in NAMED if name.startswith("loop/")}
    assert every | rate | ELSEWHERE == NAMED


def test_the_page_has_the_metrics_of_a_control_rate():
    rate = {name for name in NAMED if name.startswith("loop/")}
    assert set(LoopTiming(20.0).end_episode()) == rate


def test_the_figure_of_the_constraint_is_drawn_from_a_run(logged, tmp_path):
    script = [sys.executable, str(ROOT / "benchmarks" / "constraint_figure.py")]

    def drawn(agent, number):
        words = [*script, str(logged[agent, "default"][2]), "--episode", str(number)]
        return subprocess.run(
            [*words, "--out", str(tmp_path / "figure.png")],
            capture_output=True,
            text=True,
            check=False,
        )

    done = drawn("silri", 2)  # 0 and 1 are demonstrations
    assert done.returncode == 0, done.stderr
    assert "episode 2, " in done.stdout
    assert (tmp_path / "figure.png").stat().st_size > 5_000
    assert "the run has no episode 999" in drawn("silri", 999).stderr
    assert "has no lambda: name a run of silri" in drawn("hg_dagger", 2).stderr
