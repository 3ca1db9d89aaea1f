"""An environment's checks: on one that is well, and on one per illness."""

from __future__ import annotations

import time

import numpy as np
import pytest

from silri.doctor import environment
from silri.doctor.environment import check_environment
from tests.fakes.envs.point import PointMass


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(environment, "MEASURE_S", 0.02)


def examined(env, *, episodes=4, moves=True):
    return {c.name: c for c in check_environment(env, episodes=episodes, moves=moves)}


@pytest.mark.parametrize("layout", ["one-arm", "two-arms", "no-gripper"])
def test_a_healthy_one_is_well(layout):
    checks = examined(PointMass(layout))
    assert {check.state for check in checks.values()} == {"ok"}
    assert checks["observation"].value.startswith("state [")
    assert "succeeds in 4 of 4 episodes" in checks["expert"].value
    assert "steps/s" in checks["rate"].value


def test_what_may_not_move_is_only_reset():
    env = PointMass()
    checks = examined(env, moves=False)
    assert env.steps == 0
    assert checks["steps"].state == "skipped"
    assert "expert" not in checks


class Random(PointMass):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=None)


class Slow(PointMass):
    def step(self, action):
        time.sleep(0.15 if self.steps < 1 else 0.0)
        return super().step(action)


class Lame(PointMass):
    def step(self, action):
        return super().step(action * np.float32([1, 0, 1, 1]))


class NeverTrue(PointMass):
    def _distance(self):
        return np.ones(self.arms)


class Clumsy(PointMass):
    def privileged(self):
        known = super().privileged()
        good = int(abs(self._goal).sum() * 1000) % 4 == 0
        action = known.expert_action if good else -known.expert_action
        return type(known)(action, known.hand, known.object, known.goal)


class Short(PointMass):
    def step(self, action):
        return super().step(action)[:4]


class NotFinite(PointMass):
    def step(self, action):
        observation, *rest = super().step(action)
        observation["state"][0] = np.nan
        return observation, *rest


@pytest.mark.parametrize(
    ("env", "name", "state", "text"),
    [
        (Random(), "reset", "warning", "state, environment_state differs by up to"),
        (Slow(), "rate", "warning", "steps/s"),
        (Lame(), "action's effect", "warning", "dimensions [1] change nothing"),
        (NeverTrue(), "expert", "failed", "succeeds in 0 of 12 episodes"),
        (Clumsy(), "expert", "warning", "of 12 episodes"),
        (Short(), "contract", "failed", "env.step returned 4 values"),
        (NotFinite(), "contract", "failed", "'observation.state' is not finite"),
    ],
)
def test_each_illness_is_found(env, name, state, text):
    check = examined(env, episodes=12)[name]
    assert check.state == state
    assert text in check.value
    assert check.remedy
