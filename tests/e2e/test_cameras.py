"""What a robot with a camera does: record, look, export. Training on images is not there yet."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from silri.cli.main import main
from silri.store.dataset import read_dataset
from tests.fakes.envs.gym_point import CAMERA


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_episodes_with_a_camera_are_recorded_checked_merged_and_exported(capsys):
    for name, seed in (("a", 0), ("b", 1)):
        record = ("record", "--env", CAMERA, "--env.gripper-dims", "3", "--operator", "expert")
        assert main([*record, "--episodes", "2", "--seed", str(seed), "--out", name]) == 0
    episodes = read_dataset(Path("a"))
    image = episodes[0].observations["images.top"]
    assert image.shape == (len(episodes[0]) + 1, 16, 16, 3)
    assert (np.count_nonzero(image, axis=(1, 2, 3)) == 3).all()  # one white pixel in each
    assert main(["data", "merge", "a", "b", "--out", "both"]) == 0
    assert main(["data", "check", "both"]) == 0
    assert len(read_dataset(Path("both"))) == 4
    assert main(["data", "export", "both", "--out", "plain"]) == 0
    features = json.loads(Path("plain/meta/info.json").read_text())["features"]
    assert features["observation.images.top"]["dtype"] == "image"
    again = read_dataset(Path("plain"))
    assert np.array_equal(again[0].observations["images.top"][:-1], image[:-1])
    capsys.readouterr()
    assert main(["data", "list", "both"]) == 0
    assert "4 episodes" in capsys.readouterr().out
