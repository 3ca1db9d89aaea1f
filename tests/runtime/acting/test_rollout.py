from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from silri.core.clock import FakeClock
from silri.core.commands import Command, CommandQueue
from silri.core.protocols import OperatorInput
from silri.data.episode import EpisodeBuilder
from silri.intervention.arbiter import Arbiter, Phase
from silri.runtime.acting.rollout import PAUSE_POLL_S, rollout
from tests.fakes.envs.point import FakeEnvConfig, PointMass

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

    def __init__(
        self, env=None, policy=None, operator=None, stop=lambda: False, blend_steps=0, **keywords
    ):
        self.refused = []
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
            refused=self.refused.append,
            **keywords,
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
    # After it, the person is asked once more, about what is there then.
    assert [view.step for view in session.operator.views[:7]] == [0, 1, 1, 1, 1, 1, 2]
    assert len(session.policy.asked) == 9  # and so is the policy


def test_a_stop_ends_a_pause():
    pauses = [OperatorInput(False, pause=True)] * 100
    counter = iter(range(100))
    session = Session(operator=Operator(*pauses), stop=lambda: next(counter) > 5)
    assert session.outcome.end == "stopped"
    assert session.env.steps == 0


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
    env = FakeEnvConfig(kind=f"fake/one-arm!{fault}:2@0+").create()
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
    env = FakeEnvConfig(kind="fake/one-arm", max_episode_steps=1).create()
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


def test_a_learner_iteration_is_started_between_the_decision_and_the_step():
    env, policy, order = PointMass(), Policy(), []

    class Watched(Operator):
        def decide(self, view):
            order.append(("decide", env.steps))
            return super().decide(view)

    def while_stepping():
        order.append(("learn", env.steps))
        policy.version += 1

    session = Session(env, policy, Watched(), while_stepping=while_stepping)
    assert order == [(what, step) for step in range(8) for what in ("decide", "learn")]
    # The version is that of the parameters that have proposed.
    assert [row.policy_version for row in session.transitions] == list(range(7, 15))


# -- commands --------------------------------------------------------------------------------------


def commanding(*commands, at=2, **fields):
    """An operator that gives commands at a step."""
    return Operator(*[OperatorInput(False)] * at, OperatorInput(False, commands=commands, **fields))


@pytest.mark.parametrize("sparse_reward", [None, 10.0])
@pytest.mark.parametrize("command", [Command.SUCCESS, Command.FAILURE])
def test_a_person_ends_the_episode_with_a_label(command, sparse_reward):
    session = Session(operator=commanding(command), success_reward=sparse_reward)
    success = command is Command.SUCCESS
    assert (session.outcome.end, session.outcome.success) == ("finished", success)
    assert session.env.steps == 2
    episode = session.builder.build(success=session.outcome.success)
    np.testing.assert_array_equal(episode.frames["terminated"], [False, True])
    assert not episode.frames["truncated"].any()
    own = session.env.config.step_reward
    last = sparse_reward if success and sparse_reward is not None else own
    np.testing.assert_allclose(episode.frames["reward"], [own, last])


def test_what_has_no_step_cannot_be_labelled():
    session = Session(operator=commanding(Command.SUCCESS, at=0))
    assert session.outcome.end == "finished"
    assert not session.outcome.success
    assert session.refused == ["'success' is refused: episode 5 has no step yet"]


@pytest.mark.parametrize(
    ("command", "end"),
    [(Command.RESET, "abandoned"), (Command.DISCARD, "discarded"), (Command.STOP, "stopped")],
)
def test_a_command_ends_the_episode(command, end):
    session = Session(operator=commanding(command))
    assert session.outcome.end == end
    assert len(session.builder) == session.env.steps == 2
    assert session.arbiter.phase is Phase.RESETTING


def test_commands_come_from_outside_too():
    queue = CommandQueue()
    tell = iter([None, Command.PAUSE, None, Command.RESUME, None, Command.STOP])

    class Outside(Operator):
        def decide(self, view):
            if command := next(tell, None):
                queue.put(command)
            return super().decide(view)

    session = Session(operator=Outside(), commands=queue)
    assert session.outcome.end == "stopped"
    # The pause comes with the command's step, and is over two looks later.
    assert session.clock.now() == pytest.approx(2 * PAUSE_POLL_S)
    assert session.env.steps == 2


def test_take_and_release_engage_the_person_without_a_key():
    move = np.array([0.5, 0.0, 0.0, 1.0], np.float32)
    session = Session(
        operator=Operator(
            OperatorInput(False, action=move),
            OperatorInput(False, action=move, commands=(Command.TAKE,)),
            OperatorInput(False, action=move),
            OperatorInput(False, action=move, commands=(Command.RELEASE,)),
        )
    )
    flags = [row.is_intervention for row in session.transitions]
    assert flags[:4] == [False, True, True, False]
    np.testing.assert_array_equal(session.transitions[2].action, move)


def test_a_command_for_another_episode_is_refused_and_never_applied():
    queue = CommandQueue()
    queue.put(Command.FAILURE, episode=4)
    queue.put(Command.PAUSE, episode=4)
    session = Session(commands=queue)
    assert session.outcome.end == "finished"
    assert session.env.steps == 8
    assert session.refused == [
        f"'{name}' is refused: it is meant for episode 4, and episode 5 is running"
        for name in ("failure", "pause")
    ]
    queue.put(Command.RESET, episode=5)
    assert Session(commands=queue).outcome.end == "abandoned"


def test_what_was_to_end_the_last_episode_does_not_end_this_one():
    queue = CommandQueue()
    queue.put(Command.SUCCESS)  # a moment too late
    session = Session(commands=queue)
    assert session.env.steps == 8
    assert session.refused == ["'success' is refused: no episode was running"]


def test_what_comes_behind_the_end_waits_for_the_next_episode():
    queue = CommandQueue()
    operator = commanding(Command.DISCARD, Command.PAUSE, Command.RESET)
    session = Session(operator=operator, commands=queue)
    assert session.outcome.end == "discarded"
    waiting = iter([False] * 6 + [True])
    paused = Session(commands=queue, stop=lambda: next(waiting))
    assert (paused.outcome.end, paused.env.steps) == ("stopped", 0)
    assert paused.refused == ["'reset' is refused: no episode was running"]


def test_in_an_evaluation_nobody_drives_and_labels_are_heard():
    queue = CommandQueue()
    env = PointMass()
    env.privileged = None  # nobody asks for it
    queue.put(Command.TAKE)

    class Real(Policy):
        def propose(self, observation, episode, step):
            if step == 3:
                queue.put(Command.SUCCESS)
            return super().propose(observation, episode, step)

    arbiter = Arbiter(env.env_spec.action, 0)
    builder = EpisodeBuilder(env.env_spec, 5, False, SEED, "task", "none")
    refused = []
    outcome = rollout(
        env,
        Real(),
        None,
        arbiter,
        builder,
        rng=np.random.default_rng(0),
        on_step=lambda *_: None,
        stop=lambda: False,
        clock=FakeClock(),
        commands=queue,
        refused=refused.append,
    )
    assert (outcome.end, outcome.success, len(builder)) == ("finished", True, 3)
    assert refused == ["'take' is refused: nobody drives while the policy is evaluated"]


# -- after a pause ---------------------------------------------------------------------------------


class Movable(PointMass):
    """Somebody moves it while it stands still."""

    def observe(self):
        self._place = self._place + 0.25
        return self._observation()


@pytest.mark.parametrize("kind", [Movable, PointMass])
def test_after_a_pause_the_robot_looks_again_before_it_acts(kind):
    pause = OperatorInput(False, pause=True)
    session = Session(kind(), operator=Operator(OperatorInput(False), pause, pause))
    before, after = session.transitions[:2]
    moved = after.observation["state"] - before.next_observation["state"]
    np.testing.assert_allclose(moved[:3], 0.25 if kind is Movable else 0.0, atol=1e-6)
    # What was executed is what was proposed for the newest observation.
    seen = [asked[0]["state"] for asked in session.policy.asked if asked[2] == 1]
    assert len(seen) == 2
    np.testing.assert_array_equal(seen[1], after.observation["state"])
    assert session.operator.views[-7].observation is after.observation


# -- what an environment may say -------------------------------------------------------------------


class Telling(PointMass):
    """Says at the reset what is to be done, and after a step what was executed."""

    task, executed = None, None

    def reset(self, **keywords):
        observation, info = super().reset(**keywords)
        return observation, info if self.task is None else info | {"task": self.task}

    def step(self, action):
        *rest, info = super().step(action)
        return (*rest, info if self.executed is None else info | {"executed": self.executed})


def test_the_reset_may_name_the_task_of_the_episode():
    env = Telling()
    assert Session(env).builder.build(success=False).task == "task"
    env.task = "put the red block into the drawer"
    assert Session(env).builder.build(success=False).task == env.task


def test_what_was_really_executed_is_stored_as_the_action():
    env = Telling()
    env.executed = [0.05, 0.2, 0.3, -0.9]
    person = asks(-1.0, 0.5, 0.2, 1.0)
    session = Session(env, operator=Operator(OperatorInput(False), person))
    for row in session.transitions:
        np.testing.assert_allclose(row.action, [0.05, 0.2, 0.3, -1.0])  # a gripper has classes
    np.testing.assert_array_equal(session.transitions[0].policy_action, session.policy.action)
    np.testing.assert_array_equal(session.transitions[1].human_action, person.action)


@pytest.mark.parametrize(
    ("executed", "message"),
    [
        ([0.1, 0.2], r"'info\['executed'\]' has shape \(2,\)"),
        ([0.1, np.nan, 0.2, 1.0], r"'info\['executed'\]' is not finite at index \[1\]"),
        ([0.1, 2.0, 0.2, 1.0], r"info\['executed'\] takes actions in \[-1, 1\], got"),
    ],
)
def test_a_wrong_executed_action_is_a_fault_that_names_it(executed, message):
    env = Telling()
    env.executed = executed
    session = Session(env)
    assert session.outcome.end == "fault"
    assert re.search(message, session.outcome.reason)
    assert len(session.builder) == 0


# -- exceptions of others --------------------------------------------------------------------------


class Breaking(PointMass):
    """Raises, or returns something odd, where it is told to."""

    def __init__(self, where, what):
        super().__init__()
        self.where, self.what = where, what

    def _broken(self, where, value):
        if where != self.where or (self.steps == 0 and where == "step"):
            return value
        if isinstance(self.what, BaseException):
            raise self.what
        return self.what(value)

    def reset(self, **keywords):
        return self._broken("reset", super().reset(**keywords))

    def step(self, action):
        return self._broken("step", super().step(action))

    def privileged(self):
        return self._broken("privileged", super().privileged())


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (Breaking("step", RuntimeError("motor 3")), "env.step raised RuntimeError: motor 3"),
        (
            Breaking("step", ValueError("not enough values to unpack")),
            "to unpack (env.step returns (observation, reward, terminated, truncated, info))",
        ),
        (Breaking("reset", KeyError("arm")), "env.reset raised KeyError: 'arm'"),
        (Breaking("privileged", OSError("no")), "env.privileged raised OSError: no"),
        (Breaking("step", lambda five: five[:4]), "env.step returned 4 values; it takes (observ"),
        (Breaking("reset", lambda two: two[0]), "env.reset returned a dict; it takes (observat"),
        (Breaking("reset", lambda two: (two[0], None)), "env.reset returned the info a NoneType"),
        (Breaking("step", lambda five: (*five[:4], {})), "an info without 'success'"),
        (
            Breaking("step", lambda five: (five[0], None, *five[2:])),
            "the reward that env.step returned is None; it takes a number",
        ),
        (
            Breaking("step", lambda five: (*five[:2], "False", *five[3:])),
            "terminated, which env.step returned, is 'False'; it takes True or False",
        ),
        (
            Breaking("step", lambda five: (*five[:4], five[4] | {"success": np.nan})),
            "info['success'] that env.step returned is nan; it takes True or False",
        ),
        (
            Breaking("step", lambda five: (*five[:4], five[4] | {"grasp_penalty": np.nan})),
            "'grasp_penalty' is not finite at step 0",
        ),
        (
            Breaking("step", lambda five: (five[0], 1e300, *five[2:])),
            "'reward' is not finite at step 0",
        ),
        (Breaking("step", SystemExit("no licence")), "env.step raised SystemExit: no licence"),
    ],
)
def test_an_exception_of_an_environment_is_a_fault_that_names_the_method(env, message):
    session = Session(env)
    assert session.outcome.end == "fault"
    assert message in session.outcome.reason
    assert "\n" not in session.outcome.reason
    raised = isinstance(env.what, BaseException)
    assert ("_broken" in session.outcome.traceback) == raised


def test_an_operator_that_raises_or_answers_nonsense_is_a_fault_too():
    def fails():
        raise ValueError("the SpaceMouse is gone")

    session = Session(operator=Operator(OperatorInput(False), fails))
    assert session.outcome.reason.startswith("operator.decide raised ValueError: the SpaceMouse")
    assert len(session.builder) == 1
    session = Session(operator=Operator(None))
    assert "operator.decide returned a NoneType; it takes a silri" in session.outcome.reason
    session = Session(operator=Operator(OperatorInput(False, commands=("stop",))))
    assert "operator.decide gave the commands ['stop']" in session.outcome.reason


def test_a_success_may_end_an_episode_that_would_go_on():
    class GoesOn(PointMass):
        def step(self, action):
            observation, reward, terminated, truncated, info = super().step(action)
            return observation, reward, False, truncated and not terminated, info

    def run(**keywords):
        env = GoesOn()
        return Session(env, operator=Operator(*[scripted(env)] * 8), **keywords)

    assert len(run().transitions) == 8
    session = run(end_on_success=True)
    assert session.outcome.success
    assert len(session.transitions) < 8
    assert session.transitions[-1].terminated


def test_what_an_operator_has_to_say_is_told():
    session = Session(operator=Operator(OperatorInput(False, notices=("I am tired", "a bit"))))
    assert session.refused == ["I am tired", "a bit"]
    session = Session(operator=Operator(OperatorInput(False, notices=(3,))))
    assert "operator.decide gave the notices [3]; it takes texts" in session.outcome.reason
