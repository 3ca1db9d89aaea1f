"""The field's own dataset checkers on what silri writes: a run, an export, a merged set."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

import silri
from silri.cli.main import main
from silri.store.tools.export import export
from silri.store.tools.merge import merge
from silri.store.tools.survey import Place
from tests.fakes.envs.gym_point import CAMERA, IDENTIFIER
from tests.fakes.models.agent import registered

pytestmark = pytest.mark.slow

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
# 8 GB, with a torch of its own: python -m venv DIR; DIR/bin/pip install PACKAGES
CHECKERS = Path(os.environ.get("SILRI_CHECKERS", CACHE / "silri" / "checkers"))
PACKAGES = "lerobot-doctor==0.2.0 lerobot-lint==0.1.1"
KINDS = ("run", "export", "merged", "camera", "camera_export")
# What a point mass does that jumps about for a second, with a gripper that it never opens.
BEHAVIOUR = {"DEAD_JOINT", "DISCONTINUITY", "JITTER"}
OF_THE_WRITER = (
    *("Metadata & Format Compliance", "Temporal Consistency", "Video Integrity"),
    *("Feature Consistency", "Portability"),
)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """Kind to folder: demonstrations, takeovers, a policy alone, and a camera."""
    folder = tmp_path_factory.mktemp("checked")
    with registered(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("SILRI_COMPILATION_CACHE", "")
        run = silri.train(
            "fake",
            {"name": IDENTIFIER, "gripper_dims": [3]},
            {"name": "steady", "gate": {"probability": 0.3, "rescue_steps": 8}},
            steps=40,
            out=folder / "run",
            data={"demos": 3},
            evaluation={"every": 0},
        )
        camera = ("--env", CAMERA, "--env.gripper-dims", "3", "--operator", "steady")
        recorded = ("--episodes", "3", "--out", str(folder / "camera"))
        assert main(["record", *camera, *recorded]) == 0
    place = Place.of(run.folder)
    export(place, folder / "export")
    merge([place, Place.of(run.folder)], folder / "merged")
    export(Place.of(folder / "camera"), folder / "camera_export")
    kinds = {kind: folder / kind for kind in KINDS}
    return kinds | {"run": place.episodes}


def checker(name):
    path = CHECKERS / "bin" / name
    if not path.exists():
        pytest.skip(f"{name} is not in {CHECKERS}: make it with pip install {PACKAGES}")
    return path


def call(*arguments, cwd):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment |= {"HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
    words = [str(argument) for argument in arguments]
    return subprocess.run(
        words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_doctor_finds_nothing_that_the_writer_could_have_avoided(datasets, kind, tmp_path):
    done = call(checker("lerobot-doctor"), "check", datasets[kind], cwd=tmp_path)
    verdicts = re.findall(r"^\[(PASS|WARN|FAIL)\] (.+)$", done.stdout, re.MULTILINE)
    assert len(verdicts) >= 8, done.stdout + done.stderr
    found = {name: verdict for verdict, name in verdicts}
    assert "FAIL" not in found.values(), done.stdout
    assert {found[check] for check in OF_THE_WRITER} == {"PASS"}, done.stdout
    for words in ("NaN", "not in stats.json", "infinite"):
        assert words not in done.stdout, done.stdout


@pytest.mark.parametrize("kind", ["run", "camera_export"])  # it takes its time
def test_lint_reads_it_and_only_minds_how_the_point_moves(datasets, kind, tmp_path):
    report = tmp_path / "report.json"
    done = call(checker("lelint"), "check", datasets[kind], "--json", report, cwd=tmp_path)
    assert report.exists(), done.stdout + done.stderr
    findings = json.loads(report.read_text())["findings"]
    assert {each["check"] for each in findings if each["severity"] == "error"} <= BEHAVIOUR
