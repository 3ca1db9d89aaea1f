"""Who says that the task is done: a classifier, the environment, and the person over both."""

from __future__ import annotations

import numpy as np
import pytest

from silri.core.clock import Clock
from silri.core.commands import Command, CommandQueue
from silri.core.protocols import OperatorInput
from silri.data.episode import EpisodeBuilder
from silri.intervention.arbiter import Arbiter
from silri.rewards.judge import Deciding, Streak, Watching
from silri.rewards.labels import read_labels
from silri.runtime.acting.rollout import rollout
from tests.fakes.envs.point import FakeEnvConfig
from tests.fakes.models.classifiers import LampPoint

STEP, SUCCESS = -0.05, 10.0
NEVER = FakeEnvConfig(end_on_success=False)
REAL_END = 8  # the environment's time-out


class Says:
    """A classifier whose every answer is written down before."""

    def __init__(self, *probabilities):
        self.left = list(probabilities)
        self.seen = []

    def __call__(self, observation):
        self.seen.append(observation)
        return self.left.pop(0) if self.left else 0.0


class Idle:
    """Somebody who only watches, and gives commands before given decisions."""

    def __init__(self, commands=None):
        self.commands, self.asked = commands or {}, 0

    def begin_episode(self, rng):
        pass

    def decide(self, view):
        given = self.commands.get(self.asked, ())
        self.asked += 1
        return OperatorInput(engaged=False, commands=given)


class Expert:
    """The scripted expert as a policy."""

    version = 0

    def __init__(self, env):
        self._env = env

    def propose(self, observation, episode, step):
        action = self._env.privileged().expert_action
        return np.clip(action, -1, 1).astype(np.float32), {}


class Still:
    """Does nothing."""

    version = 0

    def propose(self, observation, episode, step):
        return np.zeros(4, np.float32), {}


class Hands(Clock):
    """Time that passes in sleep alone."""

    def __init__(self):
        self.time = 0.0

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.time += seconds


def deciding(classifier, tmp_path=None, *, consecutive=2, veto_s=0.0):
    return Deciding(
        Streak(classifier, 0.9, consecutive),
        step_reward=STEP,
        success_reward=SUCCESS,
        veto_s=veto_s,
        digest="abc",
        labels=tmp_path,
    )


def drive(judge, *, env=None, expert=False, operator=None, told=None, **keywords):
    """One episode of layout 3, as number 5 of a run: (outcome, episode)."""
    env = env or LampPoint(config=NEVER)
    builder = EpisodeBuilder(env.env_spec, 5, False, 3, "task", "nobody")
    outcome = rollout(
        env,
        Expert(env) if expert else Still(),
        operator or Idle(),
        Arbiter(env.env_spec.action, blend_steps=0),
        builder,
        rng=np.random.default_rng(0),
        on_step=lambda *_: None,
        stop=lambda: False,
        clock=Hands(),
        commands=CommandQueue(),
        success_reward=SUCCESS,
        refused=(told if told is not None else []).append,
        judge=judge,
        **keywords,
    )
    return outcome, builder.build(success=outcome.success)


def test_a_success_takes_several_yes_in_a_row():
    outcome, episode = drive(deciding(Says(0.95, 0.2, 0.95, 0.95, 0.95)))
    assert (outcome.end, outcome.success, outcome.judged, outcome.called) == (
        "finished",
        True,
        True,
        True,
    )
    assert len(episode) == 4
    np.testing.assert_allclose(episode.frames["reward"], [STEP, STEP, STEP, SUCCESS])
    assert episode.frames["terminated"].tolist() == [False, False, False, True]
    assert not episode.frames["truncated"].any()


def test_the_classifier_sees_what_each_step_led_to():
    says = Says()
    _, episode = drive(deciding(says))
    assert len(says.seen) == len(episode)
    for index, seen in enumerate(says.seen):
        np.testing.assert_array_equal(seen["front"], episode.observations["front"][index + 1])


def test_the_environment_has_no_say_in_training():
    """The expert is at its goal; the classifier does not see it."""
    outcome, episode = drive(deciding(Says()), expert=True)
    assert (outcome.success, outcome.called, len(episode)) == (False, False, REAL_END)
    np.testing.assert_allclose(episode.frames["reward"], STEP)
    assert episode.frames["truncated"][-1]
    own, _ = drive(None, expert=True)
    assert own.success  # it was there
    assert own.called is None


def test_an_end_of_the_environment_without_a_yes_is_a_failure():
    outcome, episode = drive(deciding(Says()), env=LampPoint(), expert=True)
    assert (outcome.success, bool(episode.frames["terminated"][-1])) == (False, True)
    assert episode.frames["reward"][-1] == pytest.approx(STEP)


def test_in_an_evaluation_the_environment_counts_and_the_classifier_is_noted():
    watching = Watching(Streak(Says(0.95), 0.9, 1))
    outcome, episode = drive(watching)
    assert (outcome.success, outcome.called, len(episode)) == (False, True, REAL_END)
    outcome, _ = drive(Watching(Streak(Says(), 0.9, 1)), env=LampPoint(), expert=True)
    assert (outcome.success, outcome.called) == (True, False)


def test_where_the_environment_has_no_opinion_the_classifier_counts():
    class Mute(LampPoint):
        def step(self, action):
            *rest, info = super().step(action)
            return *rest, {**info, "judged": False}

    outcome, episode = drive(Watching(Streak(Says(0.1, 0.95), 0.9, 1)), env=Mute(config=NEVER))
    assert (outcome.success, outcome.judged, len(episode)) == (True, True, 2)
    assert episode.frames["terminated"][-1]


@pytest.mark.parametrize("success", [True, False])
def test_a_person_overrules_it_and_the_judged_frame_is_kept(success, tmp_path):
    command = Command.SUCCESS if success else Command.FAILURE
    operator = Idle({2: (command,)})  # before the third decision
    outcome, episode = drive(deciding(Says(0.3, 0.6), tmp_path), operator=operator)
    assert (outcome.end, outcome.success, len(episode)) == ("finished", success, 2)
    assert episode.frames["reward"][-1] == pytest.approx(SUCCESS if success else STEP)
    (label,) = read_labels(tmp_path)
    assert (label.episode, label.frame, label.success) == (5, 2, success)
    assert (label.probability, label.classifier) == (0.6, "abc")
    assert sorted(label.frames) == ["front", "side"]
    np.testing.assert_array_equal(label.frames["side"], episode.observations["side"][-1])


def test_a_success_that_is_taken_back_goes_on(tmp_path):
    """It has no say again until it has said no."""
    says = Says(0.95, 0.95, 0.95, 0.1, 0.95, 0.95)
    operator = Idle({2: (Command.FAILURE,)})  # asked twice for steps 0 and 1, then at the success
    told = []
    judge = deciding(says, tmp_path, veto_s=1.0)
    outcome, episode = drive(judge, operator=operator, told=told)
    assert (outcome.success, len(episode)) == (True, 6)
    np.testing.assert_allclose(episode.frames["reward"], [STEP] * 5 + [SUCCESS])
    assert told == ["the classifier says success: FAILURE within 1 s takes it back"] * 2
    (label,) = read_labels(tmp_path)
    assert (label.frame, label.success, label.probability) == (2, False, 0.95)


def test_a_success_that_is_confirmed_does_not_wait(tmp_path):
    operator = Idle({2: (Command.SUCCESS,)})
    judge = deciding(Says(0.95, 0.95), tmp_path, veto_s=60.0)
    outcome, episode = drive(judge, operator=operator)
    assert (outcome.success, len(episode), operator.asked) == (True, 2, 3)
    (label,) = read_labels(tmp_path)
    assert (label.frame, label.success) == (2, True)


def test_an_episode_can_be_discarded_while_a_person_is_asked():
    operator = Idle({2: (Command.DISCARD,)})
    outcome, _ = drive(deciding(Says(0.95, 0.95), veto_s=60.0), operator=operator)
    assert outcome.end == "discarded"
