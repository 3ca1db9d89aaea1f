"""The guide to the library, block after block, in its small form."""

from __future__ import annotations

import re

import pytest

import silri
from silri.agents.registry import load_agent
from tests.source import ROOT
from tests.test_docs import blocks

GUIDE = ROOT / "docs/guides/library.md"


def smaller(code):
    """A tenth of the steps, and few episodes."""
    code = re.sub(r"steps=(\d+)0\b", r"steps=\1", code)
    code = re.sub(r'"every": (\d+)0\b', r'"every": \1', code)
    return re.sub(r"(episodes\W{1,3})[12]0\b", r"\g<1>2", code)


@pytest.mark.slow
def test_every_block_of_the_guide_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SILRI_COMPILATION_CACHE", "")
    stages = load_agent("silri").preset("default").config.stages
    tiny = {
        "name": "silri",
        "trunk": {"hidden": [16, 16]},
        "batch_size": 8,
        "stages": {str(i): {"updates": 20} for i, stage in enumerate(stages) if stage.updates},
    }
    original = silri.train

    def train(agent=None, *arguments, **keywords):
        return original(None if "resume" in keywords else tiny, *arguments, **keywords)

    monkeypatch.setattr(silri, "train", train)
    # The run of the first tutorial, which the guide begins with.
    train(
        env="metaworld/drawer-open-v3",
        operator="none",
        data={"demos": 0},
        steps=5,
        out="runs/demo",
        evaluation={"every": 5, "episodes": 1},
    )
    namespace = {"__name__": "guide"}
    ran = 0
    for language, code in blocks(GUIDE):
        assert language == "python", "a block that nobody runs"
        exec(compile(smaller(code), f"{GUIDE.name}, block {ran}", "exec"), namespace)
        ran += 1
    assert ran >= 7
    said = capsys.readouterr().out
    assert re.search(r"^success: (True|False)", said, re.MULTILINE)
    assert "runs/mine 400" in said
    assert re.search(r"^None None -\d+", said, re.MULTILINE), "an evaluation that nothing judges"
    assert re.search(r"^success [\d.]+ \[[\d.]+, [\d.]+\] of 2 episodes", said, re.MULTILINE)
    assert re.search(r"^\d+ episodes$", said, re.MULTILINE)
