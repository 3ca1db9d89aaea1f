"""Takeover and hand-back without a jump, through a gamepad's twin and the arbiter."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from silri.intervention.devices.config import PEOPLE
from silri.intervention.registry import OPERATORS

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def changes():
    path = ROOT / "benchmarks" / "handover.py"
    spec = importlib.util.spec_from_file_location("handover", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.changes


def test_a_hand_over_changes_the_action_no_more_than_driving_does(changes):
    handed, driven = changes(PEOPLE["runtime"]["blend_steps"], range(6))
    assert handed.max() <= driven.max()
    assert len(handed) == 6 * 4 * 6


@pytest.mark.parametrize("blend", [0, 1])
def test_without_enough_blending_it_would(changes, blend):
    handed, driven = changes(blend, range(6))
    assert handed.max() > driven.max()


@pytest.mark.parametrize("name", ["terminal", "gamepad", "spacemouse", "lerobot:x"])
def test_every_device_s_run_has_a_person_s_pace(name):
    assert OPERATORS.load(name).preset().run == PEOPLE
