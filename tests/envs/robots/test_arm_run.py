"""A whole run on a LeRobot arm: demonstrations, takeovers, a cable that is pulled, resumption."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from silri.configs.run import EvaluationConfig
from silri.core.clock import FakeClock
from silri.core.events import EpisodeQuarantined
from silri.envs.robots.config import ArmConfig
from silri.intervention.operators import OperatorConfig
from silri.runtime.session import Interrupted
from silri.store.dataset import read_dataset
from tests.fakes.bench import GOAL, NEAR, Driver, arms
from tests.fakes.runs import Recorder, StopAfter, tiny_run, train

__all__ = ["arms"]  # a fixture
DRIVER = f"{Driver.__module__}:Driver"


def configuration(**fields):
    base = tiny_run("silri", steps=24)
    return replace(
        base,
        env_name="lerobot:bench_arm",
        env=ArmConfig(options=("port=/dev/ttyACM0",), max_episode_steps=12, home=("pan=0",)),
        operator_name=DRIVER,
        operator=OperatorConfig(),
        evaluation=EvaluationConfig(every=0),
        runtime=replace(base.runtime, rate_hz=10.0),
        **fields,
    )


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("silri.envs.robots.arm.HOMING_S", 0.0)


def test_an_arm_learns_and_every_step_is_what_was_executed(arms, tmp_path):
    run = train(configuration(), tmp_path / "run", clock=FakeClock())
    episodes = read_dataset(tmp_path / "run" / "episodes")
    assert sum(e.is_demo for e in episodes) == 2
    assert run.state.env_steps >= 24
    for episode in episodes:
        state = episode.observations["state"]
        targets, actions = state[:, 3:5], episode.frames["action"][:, :2]
        np.testing.assert_allclose(np.diff(targets, axis=0), 3.0 * actions, atol=1e-3)
        assert (abs(state[-1, 0] - GOAL) < NEAR) == episode.success
        assert abs(state[0, 0]) <= 2.0  # home
    assert any(e.frames["is_intervention"].any() for e in episodes if not e.is_demo)
    assert any(not e.frames["is_intervention"].all() for e in episodes if not e.is_demo)
    arm = arms.HELD[-1]
    assert not arm.connected  # and it went home first
    assert abs(arm.at["pan"]) <= 2.0
    spec = json.loads((tmp_path / "run" / "policy" / "policy.json").read_text())["spec"]
    assert spec["name"] == "lerobot:bench_arm"
    assert spec["control_hz"] == 10.0


def test_a_cable_that_is_pulled_costs_the_running_episode_alone(arms, tmp_path):
    class Pull:
        """Pulls it in the middle of the second training episode, and puts it back."""

        def __init__(self):
            self.steps = 0

        def on_event(self, event):
            arm = arms.HELD[-1]
            if type(event).__name__ == "StepTaken":
                self.steps += 1
                arm.plugged = self.steps != 15
            elif isinstance(event, EpisodeQuarantined):
                arm.plugged = True

    recorder = Recorder()
    run = train(configuration(), tmp_path / "run", subscribers=[Pull(), recorder])
    (lost,) = recorder.of(EpisodeQuarantined)
    assert "There is no status packet!" in lost.reason
    assert run.state.env_steps >= 24
    assert not any(np.isnan(e.frames["action"]).any() for e in run_episodes(tmp_path / "run"))


def run_episodes(path):
    return read_dataset(path / "episodes")


def test_a_run_that_was_stopped_goes_on_with_another_connection(arms, tmp_path):
    with pytest.raises(Interrupted):
        train(configuration(), tmp_path / "run", stop=StopAfter(9))
    assert not arms.HELD[-1].connected
    run = train(configuration(), tmp_path / "run")
    assert run.state.env_steps >= 24
    assert len(arms.HELD) == 2  # each session opened it once
