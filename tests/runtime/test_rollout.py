from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from silri.core.clock import FakeClock
from silri.core.protocols import OperatorInput
from silri.data.episode import EpisodeBuilder
from silri.intervention.arbiter import Arbiter, Phase
from silri.runtime.rollout import PAUSE_POLL_S, rollout
from tests.fakes.point import FakeEnvConfig, PointMass

SEED = 3


class Policy:
    """Proposes one action; remembers what it was asked."""

    def __init__(self, action=(0.1, 0.2, 0.3, -1.0), version=7):
        self.action, self.version, self.asked = np.asarray(action, np.float32), version, []

    def propose(self, observation, episode, step):
        self.asked.append((dict(observation), episode, step))
        return self.action, {"confidence": float(step)}


class Operator:
    """Answers from a list, then nothing; remembers what it was shown."""

    def __init__(self, *answers, arbiter=None):
        self.answers, self.views, self.begun, self.arbiter = list(answers), [], 0, arbiter

    def begin_episode(self, rng):
        self.begun += 1

    def decide(self, view):
        self.views.append(view)
        answer = self.answers.pop(0) if self.answers else OperatorInput(False)
        return answer() if callable(answer) else answer


class Session:
    """One rollout with its parts at hand."""

    def __init__(self, env=None, policy=None, operator=None, stop=lambda: False, blend_steps=0):
        self.env = env or PointMass()
        self.policy = policy or Policy()
        self.arbiter = Arbiter(self.env.env_spec.action, blend_steps)
        self.operator = operator or Operator()
        self.clock = FakeClock()
        self.steps = []
        self.builder = EpisodeBuilder(self.env.env_spec, 5, False, SEED, "task", "person")
        self.outcome = rollout(
            self.env,
            self.policy,
            self.operator,
            self.arbiter,
            self.builder,
            rng=np.random.default_rng(0),
            on_step=lambda transition, diagnostics: self.steps.append((transition, diagnostics)),
            stop=stop,
            clock=self.clock,
        )
        self.transitions = [transition for transition, _ in self.steps]


def asks(*action):
    return OperatorInput(True, np.asarray(action, np.float32))


def scripted(env):
    """What the fake's own expert would do."""
    return lambda: OperatorInput(True, np.clip(env.privileged().expert_action, -1, 1))


def test_transitions_follow_each_other_to_the_true_last_observation():
    session = Session()
    assert session.outcome.end == "finished"
    assert not session.outcome.success
    rows = session.transitions
    assert len(rows) == session.env.steps == session.env.env_spec.max_episode_steps
    for row, following in itertools.pairwise(rows):
        np.testing.assert_array_equal(row.next_observation["state"], following.observation["state"])
    assert [row.step for row in rows] == list(range(len(rows)))
    assert [row.truncated for row in rows] == [False] * 7 + [True]
    assert not any(row.terminated for row in rows)
    np.testing.assert_array_equal(
        session.builder.build(success=False).observations["state"][-1],
        session.env._observation()["state"],
    )


def test_success_terminates():
    env = PointMass()
    session = Session(env, operator=Operator(*[scripted(env)] * 8))
    assert session.outcome.end == "finished"
    assert session.outcome.success
    last = session.transitions[-1]
    assert (last.terminated, last.truncated) == (True, False)
    assert last.reward == env.config.success_reward
    assert len(session.transitions) < env.env_spec.max_episode_steps


def test_what_is_recorded_is_what_was_executed_and_by_whom():
    person = asks(-1.0, 0.5, 3.0, 1.0)
    session = Session(operator=Operator(OperatorInput(False), person, person))
    policy, human, human_again, policy_again = session.transitions[:4]
    np.testing.assert_array_equal(policy.action, session.policy.action)
    assert np.isnan(policy.human_action).all()
    assert (policy.is_intervention, policy.human_weight) == (False, 0.0)
    for row in (human, human_again):
        np.testing.assert_array_equal(row.action, [-1.0, 0.5, 1.0, 1.0])  # clipped
        np.testing.assert_array_equal(row.human_action, row.action)
        np.testing.assert_array_equal(row.policy_action, session.policy.action)
        assert (row.is_intervention, row.human_weight) == (True, 1.0)
    np.testing.assert_array_equal(policy_again.action, session.policy.action)
    assert [view.in_control for view in session.operator.views[:4]] == [False, False, True, True]


def test_control_is_blended_and_the_person_s_own_action_kept():
    person = asks(-0.9, 0.2, 0.3, 1.0)
    session = Session(operator=Operator(person, person), blend_steps=1)
    first, second, released = session.transitions[:3]
    assert [row.human_weight for row in (first, second)] == [0.5, 1.0]
    np.testing.assert_allclose(first.action, [-0.4, 0.2, 0.3, 1.0], atol=1e-6)
    np.testing.assert_allclose(first.human_action, [-0.9, 0.2, 0.3, 1.0])
    assert not released.is_intervention
    np.testing.assert_allclose(released.action, [-0.4, 0.2, 0.3, -1.0], atol=1e-6)


def test_everybody_is_told_what_concerns_them():
    session = Session()
    assert session.env.resets == [SEED]
    assert session.operator.begun == 1
    assert [(episode, step) for _, episode, step in session.policy.asked] == [
        (5, step) for step in range(8)
    ]
    assert set(session.policy.asked[0][0]) == {"state", "environment_state"}
    view = session.operator.views[2]
    assert view.step == 2
    assert view.privileged is not None
    np.testing.assert_array_equal(view.policy_action, session.policy.action)
    assert {row.policy_version for row in session.transitions} == {7}
    assert [diagnostics["confidence"] for _, diagnostics in session.steps] == list(range(8))
    assert session.transitions[0].episode_id == 5


def test_without_privileged_the_operator_sees_none():
    class Real(PointMass):
        privileged = None

    env = Real()
    del Real.privileged

    class Robot:
        env_spec = env.env_spec
        reset, step, close = env.reset, env.step, env.close
        steps = 0

    session = Session(Robot())
    assert session.operator.views[0].privileged is None


def test_grasp_penalty_and_reward_come_from_the_environment():
    session = Session(operator=Operator(asks(0, 0, 0, 1.0)))
    penalty = session.env.config.grasp_penalty
    assert [row.grasp_penalty for row in session.transitions[:3]] == [penalty, penalty, 0.0]
    assert {row.reward for row in session.transitions} == {session.env.config.step_reward}


@pytest.mark.parametrize("after", [0, 3])
def test_a_stop_is_heard_before_the_next_step(after):
    asked = []

    def stop():
        asked.append(None)
        return len(asked) > after

    session = Session(stop=stop)
    assert session.outcome.end == "stopped"
    assert len(session.builder) == session.env.steps == after
    assert session.arbiter.phase is Phase.RESETTING


def test_a_pause_waits_without_stepping():
    pause = OperatorInput(False, pause=True)
    session = Session(operator=Operator(OperatorInput(False), pause, pause, pause))
    assert session.outcome.end == "finished"
    assert session.clock.now() == pytest.approx(3 * PAUSE_POLL_S)
    assert session.env.steps == 8
    # The robot stood still meanwhile: the operator saw one and the same moment.
    assert [view.step for view in session.operator.views[:6]] == [0, 1, 1, 1, 1, 2]


def test_a_stop_ends_a_pause():
    pauses = [OperatorInput(False, pause=True)] * 100
    counter = iter(range(100))
    session = Session(operator=Operator(*pauses), stop=lambda: next(counter) > 5)
    assert session.outcome.end == "stopped"
    assert session.env.steps == 0


def test_an_operator_can_abandon_the_episode():
    env = PointMass()
    session = None

    class Quitter(Operator):
        def decide(self, view):
            if view.step == 2:
                self.arbiter.request(Phase.RESETTING)
            return OperatorInput(False)

    arbiter = Arbiter(env.env_spec.action, 0)
    builder = EpisodeBuilder(env.env_spec, 0, False, SEED, "task", "person")
    session = rollout(
        env,
        Policy(),
        Quitter(arbiter=arbiter),
        arbiter,
        builder,
        rng=np.random.default_rng(0),
        on_step=lambda *_: None,
        stop=lambda: False,
        clock=FakeClock(),
    )
    assert session.end == "abandoned"
    assert len(builder) == env.steps == 2


@pytest.mark.parametrize(
    ("policy", "operator", "message"),
    [
        (Policy((np.nan, 0, 0, 1)), None, "'policy_action' is not finite"),
        (Policy((0, 0, np.inf, 1)), None, "'policy_action' is not finite"),
        (Policy((0, 0, 0)), None, r"'policy_action' has shape \(3,\)"),
        (None, Operator(asks(0, np.nan, 0, 0)), "'human_action' is not finite"),
        (None, Operator(asks(0, 0)), r"'human_action' has shape \(2,\)"),
        (None, Operator(OperatorInput(True)), "engaged and has no action"),
    ],
)
def test_a_bad_action_is_never_executed(policy, operator, message):
    session = Session(policy=policy, operator=operator)
    assert session.outcome.end == "fault"
    assert session.env.steps == 0
    assert len(session.builder) == 0
    assert re.search(message, session.outcome.reason)
    assert session.arbiter.phase is Phase.RESETTING


@pytest.mark.parametrize(
    ("fault", "kept", "message"),
    [
        ("nan-observation", 3, "'next_observation.state' is not finite at step 2 of episode 5"),
        ("infinite-reward", 3, "'reward' is not finite at step 2"),
        ("wrong-shape", 2, "'observation.state' has shape (3,); the spec says (4,)"),
        ("raises", 2, "EnvironmentFault: the simulator lost its mind"),
        ("endless", 8, "no end after 8 steps"),
        ("nan-reset", 0, "'observation.state' is not finite"),
        ("reset-raises", 0, "the simulator does not wake up"),
    ],
)
def test_a_broken_environment_is_an_outcome(fault, kept, message):
    env = FakeEnvConfig(f"fake/one-arm!{fault}:2@0+").create()
    env._seeds = {SEED}
    session = Session(env)
    assert session.outcome.end == "fault"
    assert not session.outcome.success
    assert message in session.outcome.reason
    assert len(session.builder) == kept
    if kept:
        episode = session.builder.build(success=False)  # there is something to set aside
        assert len(episode) == kept


def test_the_last_step_of_an_episode_may_be_both(monkeypatch):
    """Success in the very last step is a success, not a time-out: it does not bootstrap."""
    env = FakeEnvConfig("fake/one-arm", max_episode_steps=1).create()
    original = PointMass.step

    def both(self, action):
        observation, reward, _, _, info = original(self, action)
        return observation, reward, True, True, info | {"success": True}

    monkeypatch.setattr(PointMass, "step", both)
    session = Session(env)
    assert session.outcome.success
    assert (session.transitions[0].terminated, session.transitions[0].truncated) == (True, False)


def test_an_observation_is_copied_where_the_environment_reuses_its_array():
    class Reusing(PointMass):
        def reset(self, **keywords):
            observation, info = super().reset(**keywords)
            self.buffer = observation
            return self.buffer, info

        def step(self, action):
            observation, *rest = super().step(action)
            for key, value in observation.items():
                self.buffer[key][:] = value
            return (self.buffer, *rest)

    plain, reusing = Session(PointMass()), Session(Reusing())
    for a, b in zip(plain.transitions, reusing.transitions, strict=True):
        np.testing.assert_array_equal(a.observation["state"], b.observation["state"])
        np.testing.assert_array_equal(a.next_observation["state"], b.next_observation["state"])
    assert plain.outcome == reusing.outcome


def test_the_operator_hears_that_the_robot_asks():
    class Asking(Policy):
        def propose(self, observation, episode, step):
            return self.action, {"ask": float(step == 1)}

    session = Session(policy=Asking())
    asked = [view.asked for view in session.operator.views]
    assert asked[:3] == [False, True, False]
    assert not any(view.asked for view in Session().operator.views)
