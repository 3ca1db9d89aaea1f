"""A run that a person drives: ``silri train`` with a device's twin."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from silri.store.dataset import read_dataset
from tests.cli.conftest import SMALL
from tests.cli.taught import DRIVE, PAD, actions, attempt, write


def test_a_person_demonstrates_and_takes_over(silri):
    shown = [*attempt(0), *attempt(1)]
    push = {"x": 0.25, "y": -0.5, "z": 0.75}
    taken = [(push, (DRIVE,))] * 3
    path = write(Path("input.jsonl"), [*shown, ({}, ()), ({}, ()), *taken, ({}, ())])
    run = ("--runtime.rate-hz", 0, "--runtime.blend-steps", 1, "--agent", "hg_dagger")
    assert silri("train", *PAD, path, *SMALL, *run, "--out", "run") == 0, silri.err
    assert "operator gamepad: you, with a gamepad" in silri.out
    assert "Left stick: forward, left." in silri.out
    demos = [e for e in read_dataset(Path("run/episodes")) if e.is_demo]
    assert [e.operator for e in demos] == ["gamepad"] * 2
    driven = np.concatenate([e.frames["human_action"] for e in demos])
    np.testing.assert_allclose(driven, actions(shown), atol=1e-6)
    first = next(e for e in read_dataset(Path("run/episodes")) if not e.is_demo)
    frames = first.frames
    taken_over = np.flatnonzero(frames["is_intervention"])
    assert taken_over.tolist() == [2, 3, 4]  # what the hand did, at its decisions
    np.testing.assert_allclose(frames["human_action"][2:5, :3], [[0.25, -0.5, 0.75]] * 3, atol=1e-6)
    assert frames["human_weight"].tolist()[:6] == [0, 0, 0.5, 1, 1, 0]
    np.testing.assert_allclose(frames["action"][3:5, :3], [[0.25, -0.5, 0.75]] * 2, atol=1e-6)
    assert np.isnan(frames["human_action"][[0, 1, 5]]).all()
