"""One robot that cannot be opened twice, and commands to the run that drives it."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from silri.core.commands import Command, CommandQueue
from silri.core.errors import EnvironmentFault
from silri.core.events import EpisodeDiscarded, EpisodeFinished, Evaluated, Notice, StepTaken
from silri.core.seeding import Stream, derive_seed
from silri.intervention.operators import OperatorConfig
from silri.runtime.session import Interrupted
from silri.store.dataset import read_dataset
from tests.fakes.envs.point import FakeEnvConfig, PointMass
from tests.fakes.models.agent import registered
from tests.fakes.runs import Recorder, fingerprint, metrics, prepare, summary, tiny_run, train


@pytest.fixture(scope="module", autouse=True)
def fake():
    with registered():
        yield


class Robot:
    """A point mass that is no simulation: it tells nobody the truth."""

    def __init__(self, fails=()):
        self.inner, self.fails, self.closed = PointMass(), fails, 0
        self.env_spec = self.inner.env_spec
        self.resets = []

    def reset(self, *, seed=None, options=None):
        self.resets.append(seed)
        return self.inner.reset(seed=seed)

    def step(self, action):
        result = self.inner.step(action)
        if len(self.resets) - 1 in self.fails and self.inner._taken == 3:
            raise RuntimeError("motor 3 overheated")
        return result

    def close(self):
        self.closed += 1


@pytest.fixture
def opened(monkeypatch):
    """Every environment that a run makes by itself."""
    made = []
    create = FakeEnvConfig.create
    monkeypatch.setattr(FakeEnvConfig, "create", lambda self: made.append(self) or create(self))
    return made


def alone(steps=40, every=15, **fields):
    """A run without demonstrations and without a person."""
    base = tiny_run("fake", steps=steps, **fields)
    return replace(
        base,
        operator_name="none",
        operator=OperatorConfig(),
        data=replace(base.data, demos=0),
        evaluation=replace(base.evaluation, every=every),
    )


class At:
    """Gives commands at steps of the run; a subscriber stands in for a console's thread."""

    def __init__(self, *commands):
        self.queue, self.commands, self.seen = CommandQueue(), dict(commands), 0

    def on_event(self, event):
        if isinstance(event, StepTaken):
            self.seen += 1
            for command in self.commands.get(self.seen, ()):
                self.queue.put(command)


# -- one owner -------------------------------------------------------------------------------------


def test_a_robot_is_opened_once_and_evaluated_between_episodes(tmp_path, opened):
    robot, recorder = Robot(), Recorder()
    run = train(alone(), tmp_path / "run", env=robot, subscribers=[recorder])
    assert opened == []
    assert robot.closed == 1
    # In training's order: an evaluation comes when the episode that has crossed it is over.
    kinds = [type(e) for e in recorder.events if isinstance(e, EpisodeFinished | Evaluated)]
    assert kinds == [EpisodeFinished] * 2 + [Evaluated] + [EpisodeFinished] * 2 + [Evaluated] + [
        EpisodeFinished,
        Evaluated,
    ]
    ends = {e.env_step for e in recorder.of(EpisodeFinished)}
    assert {e.env_step for e in recorder.of(Evaluated)} <= ends
    layouts = [derive_seed(0, Stream.EVALUATION_LAYOUT, i) for i in range(2)]
    assert [seed for seed in robot.resets if seed in layouts] == layouts * 3
    assert len(recorder.of(StepTaken)) == run.state.env_steps  # none of an evaluation
    assert run.state.intervention_steps == 0


def test_a_simulation_is_opened_a_second_time_only_to_evaluate(tmp_path, opened):
    env = PointMass()
    train(tiny_run("fake"), tmp_path / "a", env=env)
    assert len(opened) == 1
    base = tiny_run("fake")
    train(
        replace(base, evaluation=replace(base.evaluation, every=0)), tmp_path / "b", env=PointMass()
    )
    assert len(opened) == 1


def test_stopped_in_an_evaluation_it_is_made_anew(tmp_path):
    robot = Robot()

    def stop():
        return robot.resets[-1:] == [derive_seed(0, Stream.EVALUATION_LAYOUT, 1)]

    run = prepare(alone(), tmp_path / "run", env=robot, stop=stop)
    with pytest.raises(Interrupted):
        run.run()
    again = train(alone(), tmp_path / "run", env=Robot())
    whole = train(alone(), tmp_path / "whole", env=Robot())
    assert fingerprint(again) == fingerprint(whole)


def test_without_evaluations_there_is_a_summary_without_success(tmp_path):
    recorder = Recorder()
    run = train(alone(every=0), tmp_path / "run", env=Robot(), subscribers=[recorder])
    assert recorder.of(Evaluated) == []
    written = summary(tmp_path / "run")
    for name in ("success_rate", "success_ci95", "final_success", "mean_success_length"):
        assert written[name] is None
    assert (written["evaluations"], written["eval_episodes"]) == ([], 0)
    assert written["completed"] is True
    assert (run.folder.policy / "policy.safetensors").is_file()


# -- commands --------------------------------------------------------------------------------------


def test_stop_saves_as_ctrl_c_does(tmp_path):
    at = At((20, [Command.STOP]))
    run = prepare(tiny_run("fake"), tmp_path / "run", subscribers=[at], commands=at.queue)
    with pytest.raises(Interrupted):
        run.run()
    whole = train(tiny_run("fake"), tmp_path / "whole")
    again = train(tiny_run("fake"), tmp_path / "run")
    assert fingerprint(again) == fingerprint(whole)
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")


def test_a_persons_label_is_stored(tmp_path):
    at = At((3, [Command.SUCCESS]), (7, [Command.FAILURE]))
    train(alone(), tmp_path / "run", subscribers=[at], commands=at.queue)
    first, second, *_ = read_dataset(tmp_path / "run/episodes")
    assert (len(first), first.success) == (3, True)
    assert (len(second), second.success) == (4, False)
    assert first.frames["terminated"][-1]
    assert second.frames["terminated"][-1]


def test_reset_abandons_the_episode_and_is_no_fault(tmp_path):
    at = At(*((step, [Command.RESET]) for step in range(2, 60, 2)))
    run = train(alone(), tmp_path / "run", subscribers=[at], commands=at.queue)
    aside = run.store.quarantined()
    assert len(aside) > 10
    assert {entry.reason for entry in aside} == {"abandoned by the operator"}


def test_of_what_is_discarded_nothing_is_kept(tmp_path):
    at, recorder = At((11, [Command.DISCARD])), Recorder()
    config = alone(every=9)
    run = train(config, tmp_path / "run", subscribers=[at, recorder], commands=at.queue)
    assert [e.episode_id for e in recorder.of(EpisodeDiscarded)] == [1]
    assert run.state.discarded == summary(tmp_path / "run")["discarded"] == 1
    stored = read_dataset(tmp_path / "run/episodes")
    assert 1 not in {episode.episode_id for episode in stored}
    assert run.state.env_steps == sum(map(len, stored))
    assert len(run.mixer.online) == run.state.env_steps
    assert run.state.updates == run.state.env_steps - len(stored[0])
    steps = [row["step"] for row in run.state.evaluations]
    assert steps == sorted(set(steps))
    # As if it had never begun: learnt again from what is stored, it is the same run.
    shutil.rmtree(tmp_path / "run/checkpoints")
    again = train(config, tmp_path / "run")
    assert fingerprint(again)["parameters"] == fingerprint(run)["parameters"]
    assert again.state.env_steps == run.state.env_steps


def test_a_command_for_an_episode_that_has_ended_is_a_notice(tmp_path):
    queue, recorder = CommandQueue(), Recorder()

    class Late:
        def on_event(self, event):
            if isinstance(event, EpisodeFinished) and event.episode_id == 1:
                queue.put(Command.FAILURE, episode=1)

    run = train(alone(), tmp_path / "run", subscribers=[Late(), recorder], commands=queue)
    texts = [event.text for event in recorder.of(Notice)]
    assert "'failure' is refused: it is meant for episode 1, and episode 2 is running" in texts
    lengths = [len(e) for e in read_dataset(tmp_path / "run/episodes")]
    assert min(lengths) > 1
    assert run.state.quarantined == 0


# -- exceptions ------------------------------------------------------------------------------------


def test_an_exception_sets_the_episode_aside_and_its_traceback_is_kept(tmp_path):
    run = train(alone(), tmp_path / "run", env=Robot(fails={1}))
    (entry,) = run.store.quarantined()
    assert entry.reason.startswith("env.step raised RuntimeError: motor 3 overheated")
    assert (entry.episode_id, entry.steps) == (1, 2)
    text = (tmp_path / "run/errors.log").read_text()
    assert "episode 1 of fake/one-arm: env.step raised RuntimeError" in text
    assert 'raise RuntimeError("motor 3 overheated")' in text
    assert run.state.env_steps >= 40


def test_ten_exceptions_in_a_row_end_the_run_with_one_line(tmp_path):
    with pytest.raises(EnvironmentFault) as error:
        train(alone(steps=200), tmp_path / "run", env=Robot(fails=range(2, 1000)))
    text = str(error.value)
    assert "\n" not in text
    for words in (
        "failed in 10 episodes in a row",
        "env.step raised RuntimeError: motor 3 overheated",
        f"silri train --resume {tmp_path / 'run'}",
        f"{tmp_path / 'run'}/errors.log",
    ):
        assert words in text
    assert (tmp_path / "run/errors.log").read_text().count(
        "Traceback"
    ) >= 10  # evaluations fail, too
    assert np.isfinite(train(alone(steps=200), tmp_path / "run", env=Robot()).agent.weights).all()


def test_an_operator_that_fails_after_an_episode_is_reported_and_the_episode_stays(
    tmp_path, monkeypatch
):
    def fails(self, summary):
        raise RuntimeError("no battery")

    monkeypatch.setattr("silri.intervention.operators.NoOperator.end_episode", fails)
    recorder = Recorder()
    run = train(alone(), tmp_path / "run", subscribers=[recorder])
    assert run.state.episodes == len(recorder.of(EpisodeFinished)) > 1
    assert recorder.of(Notice)[-1].text == "operator.end_episode raised RuntimeError: no battery"
    assert "no battery" in (tmp_path / "run/errors.log").read_text()
