from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from silri.bench.records import read_table
from silri.bench.run.plan import make_plan
from silri.bench.suite import cells
from silri.bench.suite_file import load_suite
from tests.cli.conftest import POINT, SMALL
from tests.fakes.envs import gym_slow
from tests.fakes.envs.gym_point import IDENTIFIER
from tests.fakes.models.outside import AGENT
from tests.fakes.suites import TOML, make_run, write_results, write_suite

ROOT = Path(__file__).resolve().parents[2]
# Of the cells' processes: this tree, and the fake environment in its tests.
PATHS = os.pathsep.join((str(ROOT / "src"), str(ROOT)))


LISTS = {"env.gripper-dims"}  # of one value


def overrides(words, *, drop):
    """Words of a command line as the lines of a suite's overrides."""
    table, name = {}, ""
    for word in words:
        if word.startswith("--"):
            name = word[2:]
            table[name] = []
        else:
            truth = {"True": True, "False": False}
            table[name].append(truth[word] if word in truth else json.loads(word))
    return "\n".join(
        f"{key.replace('-', '_')} = "
        + json.dumps(values if len(values) > 1 or key in LISTS else values[0])
        for key, values in table.items()
        if key not in drop
    )


def tiny(folder, steps=30, more="", env=IDENTIFIER):
    """A suite of two runs of seconds in the point mass."""
    own = overrides(POINT[2:4] + POINT[6:] + SMALL, drop={"steps"})
    text = f"""
name = "tiny"
seeds = 1
steps = {steps}
[overrides]
{own}
[reference]
ours = "hg_dagger"
[[tasks]]
label = "point"
env = "{env}"
[[variants]]
label = "hg_dagger"
agent = "hg_dagger"
[[variants]]
label = "bc"
agent = "bc"
{more}
[[people]]
label = "steady"
operator = "steady"
"""
    return write_suite(folder, text, "tiny")


def test_a_dry_run_shows_every_cell_and_writes_nothing(silri, tmp_path):
    path = write_suite(tmp_path)
    assert silri("bench", path, "--out", tmp_path / "out", "--dry-run", "--seeds", "1") == 0
    lines = silri.out.splitlines()
    assert [line.split()[0] for line in lines[:2]] == [
        "push_silri_steady_s1",
        "box_silri_steady_s1",
    ]
    assert lines[0].split()[1:] == ["3,000", "steps", "missing"]
    assert lines[-2].startswith("6 cells: 6 missing; about ")
    assert "a guess" in lines[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["papr"], "unknown suite 'papr'. Did you mean 'paper'?"),
        (["paper", "--variants", "silry"], "unknown variant 'silry'. Did you mean 'silri'?"),
        (["paper", "--seeds", "9"], "unknown seed '9'"),
        (["paper", "--jobs", "0"], "--jobs takes 1 or more, got 0"),
        (["paper", "--results", "x"], "--report"),
        (["paper", "--figures", "skill"], "--report"),
        (["paper", "--report", "--collect", "x.jsonl.gz"], "exclude each other"),
        (["paper", "--collect", "kept"], "--collect takes a file NAME.jsonl.gz, got kept"),
        (["paper", "--report", "--tasks", "push", "--seeds", "0"], "--tasks, --seeds choose what"),
        (["paper", "--report"], "there is no runs/bench/paper"),
        (["operators", "--tasks", "pick-place", "--people", "skilled"], "no cell of operators"),
    ],
)
def test_what_cannot_be_is_one_line(silri, arguments, words):
    assert silri("bench", *arguments) == 2
    assert words in silri.err
    assert len(silri.err.splitlines()) == 1


def test_an_override_that_does_not_fit_is_refused_before_anything_runs(silri, tmp_path):
    path = write_suite(tmp_path, TOML.replace("agent.batch_size = 8", "agent.batch_sice = 8"))
    assert silri("bench", path, "--out", tmp_path / "out") == 2
    assert f"{path}: [overrides]: " in silri.err
    assert "agent has no field 'batch_sice'" in silri.err
    assert len(silri.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_report_of_run_folders(silri, tmp_path):
    pytest.importorskip("rliable")
    path = write_suite(tmp_path)
    folder = write_results(load_suite(str(path)), tmp_path / "r")
    assert silri("bench", path, "--report", "--results", folder) == 0, silri.err
    assert "12 of 12 cells" in silri.out
    markdown = (folder / "report" / "report.md").read_text()
    assert f"silri bench {path} --report --results {folder}" in markdown
    assert (folder / "report" / "report.html").is_file()


@pytest.mark.parametrize("arguments", [("--report",), ("--collect", "kept.jsonl.gz")])
def test_runs_of_another_configuration_are_in_no_report(silri, tmp_path, arguments):
    """A suite's flags may have changed, or a default, since its runs were made."""
    out, text = tmp_path / "out", TOML.replace("[overrides]", "[overrides]\nagent.discount = 0.9")
    suite = load_suite(str(write_suite(tmp_path, text)))
    for job in make_plan([cells(suite)[0]], out):
        make_run(job, completed=True)
    path = write_suite(tmp_path)
    assert silri("bench", path, "--out", out, *arguments) == 2
    assert "push_silri_steady_s0: agent.discount: 0.9 -> 0.97" in silri.err
    assert not Path("kept.jsonl.gz").exists()
    assert not (out / "small" / "report").exists()


def test_a_report_of_a_table_names_what_has_changed_since(silri, tmp_path):
    pytest.importorskip("rliable")
    out, path, kept = tmp_path / "out", write_suite(tmp_path), tmp_path / "kept.jsonl.gz"
    for job in make_plan(cells(load_suite(str(path)), seeds=[0]), out):
        make_run(job, completed=True)
    assert silri("bench", path, "--out", out, "--collect", kept) == 0, silri.err
    assert "6 runs collected" in silri.out
    report = ("bench", path, "--report", "--results", kept)
    assert silri(*report) == 0, silri.err
    page = tmp_path / "small" / "report.md"  # beside the table, with the suite's name
    assert "another configuration" not in silri.out + page.read_text()

    write_suite(tmp_path, TOML.replace("agent.batch_size = 16", "agent.batch_size = 32"))
    assert silri(*report) == 0, silri.err
    assert "2 runs had another configuration; the report says which" in silri.out
    markdown = page.read_text()
    assert "**2 of these runs had another configuration" in markdown
    assert "- agent.batch_size: 16 -> 32: 2, e.g. push_hil_serl_steady_s0" in markdown
    assert re.search(r"^- 6 runs: Python 3.*jax \d.*; commit ", markdown, re.MULTILINE)


@pytest.mark.slow
def test_a_suite_from_nothing_to_its_report(silri, tmp_path, monkeypatch):
    pytest.importorskip("rliable")
    """With an agent beside ours that somebody wrote in a file of their own."""
    (tmp_path / "somebodys.py").write_text(AGENT)
    theirs = '[[variants]]\nlabel = "linear"\nagent = "somebodys:Linear"\n'
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((PATHS, str(tmp_path))))
    monkeypatch.syspath_prepend(str(tmp_path))
    path, out = tiny(tmp_path, more=theirs), tmp_path / "out"
    assert silri("bench", path, "--out", out) == 0, silri.out
    assert "3 of 3 cells are done" in silri.out
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    assert silri("bench", path, "--out", out) == 0
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before  # nothing ran again
    table = tmp_path / "kept.jsonl.gz"
    assert silri("bench", path, "--out", out, "--collect", table) == 0
    assert read_table(table).keys() == {cell.name for cell in cells(load_suite(str(path)))}
    assert silri("bench", path, "--report", "--out", out) == 0
    assert (out / "tiny" / "report" / "report.html").is_file()

    # A greater budget goes on with the run; a smaller one is another run, refused with the field.
    assert silri("bench", tiny(tmp_path, 60, theirs), "--out", out) == 0, silri.out
    assert "resumes: point_hg_dagger_steady_s0" in silri.out
    summary = json.loads((out / "tiny/point_hg_dagger_steady_s0/summary.json").read_text())
    assert summary["completed"] is True
    assert summary["env_steps"] >= 60
    assert silri("bench", tiny(tmp_path, 40, theirs), "--out", out) == 2
    assert "point_hg_dagger_steady_s0: steps: 60 -> 40" in silri.err


@pytest.mark.slow
@pytest.mark.parametrize(
    "where",
    [
        pytest.param((), id="cores"),
        pytest.param(("--ray", "local"), id="ray", marks=pytest.mark.xdist_group("cluster")),
    ],
)
def test_ctrl_c_saves_and_the_same_command_goes_on(tmp_path, where):
    if where:
        pytest.importorskip("ray")
    # Ray passes Ctrl-C on after a while: no machine is to be done by then.
    path, out = tiny(tmp_path, steps=250, env=gym_slow.IDENTIFIER), tmp_path / "out"
    command = [sys.executable, "-m", "silri.cli.main", "bench", str(path), "--out", str(out)]
    command += ["--variants", "hg_dagger", *where]
    environment = os.environ | {"PYTHONPATH": PATHS, "HOME": str(tmp_path)}  # Ray's token
    run = out / "tiny" / "point_hg_dagger_steady_s0"
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not (run / "checkpoints" / "last").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "everything is saved" in said
    assert (
        not (run / "summary.json").exists()
        or not json.loads((run / "summary.json").read_text())["completed"]
    )
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resumes: point_hg_dagger_steady_s0" in done.stdout
    assert json.loads((run / "summary.json").read_text())["completed"] is True
