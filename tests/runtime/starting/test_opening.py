"""Who breaks the contract is refused by name, before there is a run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from silri.core.errors import ConfigError
from silri.core.protocols import OperatorInput
from silri.intervention.operators import OperatorConfig
from silri.runtime.starting.opening import open_env_and_operator
from tests.fakes.envs.given import ENV, GIVEN, OPERATOR, GivenConfig
from tests.fakes.envs.point import PointMass
from tests.fakes.models.agent import registered
from tests.fakes.runs import tiny_run


@pytest.fixture(scope="module", autouse=True)
def fake():
    with registered():
        yield


@pytest.fixture
def opens():
    """Opens the run's environment with these parts; without an operator a simulated person's."""

    def opens(env, operator=None, demos=2):
        GIVEN.update(env=env, operator=operator)
        base = tiny_run("fake")
        config = replace(
            base, env_name=ENV, env=GivenConfig(), data=replace(base.data, demos=demos)
        )
        if operator is not None or not demos:
            name = "none" if operator is None else OPERATOR
            config = replace(config, operator_name=name, operator=OperatorConfig())
        return open_env_and_operator(config)[0]

    yield opens
    GIVEN.clear()


class Robot:
    """No simulation: it must not move."""

    def __init__(self):
        inner = PointMass()
        self.env_spec, self.reset, self.inner = inner.env_spec, inner.reset, inner
        self.closed = False

    def step(self, action):
        raise AssertionError("it moves")

    def close(self):
        self.closed = True


def test_a_simulation_is_reset_and_stepped_once(opens):
    env = PointMass()
    assert opens(env) is env
    assert (len(env.resets), env.steps, env.closed) == (1, 1, False)


def test_a_robot_is_reset_and_does_not_move(opens):
    robot = Robot()
    assert opens(robot, demos=0) is robot
    assert len(robot.inner.resets) == 1
    assert not robot.closed


def broken(**methods):
    return type("Broken", (PointMass,), methods)()


def without(key):
    def reset(self, **keywords):
        observation, info = PointMass.reset(self, **keywords)
        return {k: v for k, v in observation.items() if k != key}, info

    return reset


def raises(*_, **__):
    raise RuntimeError("the bus is down\nline 2")


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"reset": lambda self, **k: PointMass.reset(self, **k)[0]}, "env.reset returned a dict"),
        ({"reset": raises}, "env.reset raised RuntimeError: the bus is down line 2"),
        ({"reset": without("state")}, "has keys ['environment_state']; the spec says"),
        ({"step": lambda self, a: PointMass.step(self, a)[:4]}, "env.step returned 4 values; it"),
        ({"step": raises}, "env.step raised RuntimeError"),
        ({"privileged": raises}, "env.privileged raised RuntimeError"),
        ({"privileged": lambda self: np.zeros(4)}, "env.privileged returned a ndarray"),
        ({"close": None}, "env (Broken) has no method close"),
    ],
)
def test_a_broken_environment_is_refused_by_name(opens, methods, message):
    env = broken(**methods)
    with pytest.raises(ConfigError) as error:
        opens(env)
    text = str(error.value)
    assert text.startswith(f"{ENV} ")
    assert "breaks the contract: " in text
    assert message in text
    assert "\n" not in text
    assert env.closed or "close" in methods


def test_an_environment_without_a_spec(opens):
    class Bare:
        reset = step = close = lambda self: None

    with pytest.raises(ConfigError, match="created Bare, which lacks env_spec"):
        opens(Bare())
    Bare.env_spec = {"name": "arm"}
    with pytest.raises(ConfigError, match="env_spec is missing; it takes a silri"):
        opens(Bare())


class Person:
    def begin_episode(self, rng):
        pass

    def decide(self, view):
        return OperatorInput(False)

    def end_episode(self, summary):
        pass

    def state(self):
        return {}

    def restore(self, state):
        pass


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"decide": None}, r"operator \(Broken\) has no method decide"),
        ({"decide": None, "state": None}, r"has no method decide, state"),
        ({"decide": raises}, r"operator.decide raised RuntimeError: the bus is down line 2"),
        ({"decide": lambda *_: None}, r"operator.decide returned a NoneType"),
        ({"begin_episode": raises}, r"operator.begin_episode raised RuntimeError"),
    ],
)
def test_a_broken_operator_is_refused_by_name(opens, methods, message):
    operator = type("Broken", (Person,), methods)()
    env = Robot()
    with pytest.raises(ConfigError, match=message):
        opens(env, operator)
    assert env.closed


def test_an_operator_who_needs_an_expert_that_is_not_there(opens):
    with pytest.raises(ConfigError, match="operator 'steady' needs an expert"):
        opens(Robot())
