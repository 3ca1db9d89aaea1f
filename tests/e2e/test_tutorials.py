"""Every command of the tutorials, in their order, on what they say, with smaller numbers."""

from __future__ import annotations

import gzip
import json
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from silri.cli.main import main
from tests.source import ROOT

pytestmark = pytest.mark.slow

FENCE = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SMALL = [
    *("--agent.trunk.hidden", "16", "16", "--agent.batch-size", "8"),
    *("--evaluation.every", "40", "--evaluation.episodes", "2"),
    *("--runtime.log-every", "10", "--runtime.tensorboard", "False"),
]
STEPS = {"--steps": 60, "--episodes": 3, "--agent.stages.0.updates": 20, "--evaluation.every": 40}


def blocks(path):
    """(language, title, content) of every fenced block."""
    for language, rest, content in FENCE.findall(path.read_text(encoding="utf-8")):
        title = re.search(r'title="([^"]+)"', rest)
        yield language, title and title[1], content


def commands(path):
    """Lines of the shell blocks, as words."""
    for language, _, content in blocks(path):
        if language in {"", "bash"}:
            for line in content.splitlines():
                if words := shlex.split(line, comments=True):
                    yield words


def smaller(words):
    """The same command with numbers that take seconds; None where it is not ours to run."""
    if words[:2] == ["make", "demo"]:
        words = ["silri", "train", "--steps", "5000", "--out", "runs/demo"]
    if words[0] != "silri":
        assert words[0] in {"source", "make"}, words
        return None
    words = list(words)
    for flag, most in STEPS.items():
        if flag in words:
            place = words.index(flag) + 1
            words[place] = str(min(int(words[place]), most))
    if words[1] == "train" and "--resume" in words:
        words[words.index("--steps") + 1] = "90"
    elif words[1] == "train":
        words += SMALL
        if "--data.dataset" not in words and "--data.demos" not in words:
            words += ["--data.demos", "3"]
        if "hil_serl" not in words:  # it has no stage before the first step
            words += ["--agent.stages.0.updates", "20"]
    return words[1:]


def test_numbers_become_smaller():
    assert smaller(shlex.split("silri eval runs/demo --episodes 100")) == [
        *("eval", "runs/demo", "--episodes", "3")
    ]
    assert smaller(["make", "demo"])[:3] == ["train", "--steps", "60"]
    assert smaller(shlex.split("source .venv/bin/activate")) is None


@pytest.mark.parametrize("name", ["first_policy", "environment", "demonstrations"])
def test_a_tutorial_runs(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = ROOT / "docs" / "tutorials" / f"{name}.md"
    for language, title, content in blocks(path):
        if language == "python" and title:
            (tmp_path / title).write_text(content)
    ran = 0
    for words in commands(path):
        small = smaller(words)
        if small is not None:
            code = main(small)
            out, err = capsys.readouterr()
            assert code == 0, f"{shlex.join(words)}: {err or out}"
            ran += 1
    assert ran > 3


def test_the_agent_of_the_guide_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = ROOT / "docs" / "guides" / "extend.md"
    for language, title, content in blocks(path):
        if language == "python" and title:
            (tmp_path / title).write_text(content)
    for words in commands(path):
        assert main([*smaller(words), "--out", "run"]) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["run"]["agent"]["temperature"] == 0.3


def python_blocks():
    """Complete scripts of the documents that read the kept results."""
    for path in (ROOT / "docs").rglob("*.md"):
        for language, _, content in blocks(path):
            if language == "python" and "docs/results/" in content:
                yield pytest.param(content, id=f"{path.stem}-{len(content)}")


@pytest.mark.parametrize("code", list(python_blocks()))
def test_scripts_on_the_results_run(code, tmp_path):
    shutil.copytree(ROOT / "docs" / "results", tmp_path / "docs" / "results")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with gzip.open(ROOT / "docs/results/paper.jsonl.gz") as table:
        first = json.loads(table.readline())
    assert first["cell"] in done.stdout
