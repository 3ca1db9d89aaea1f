from __future__ import annotations

import json
from dataclasses import replace

import pytest

from silri.core.clock import FakeClock
from silri.core.events import Evaluated, LearnerUpdated, Notice
from silri.runtime.pace.loop import ControlLoop
from silri.store.dataset import read_dataset
from tests.data.episodes import assert_equal
from tests.fakes.envs.point import FakeEnvConfig
from tests.fakes.models.agent import registered
from tests.fakes.runs import Recorder, fingerprint, prepare, tiny_run, train


class Policy:
    version = 0

    def propose(self, observation, episode, step):
        raise NotImplementedError


def test_without_a_rate_everything_is_as_it_was():
    env, policy, clock = FakeEnvConfig(kind="fake/one-arm").create(), Policy(), FakeClock()
    loop = ControlLoop(env, policy, clock, 0.0, notify=lambda *_: None)
    assert (loop.env, loop.policy, loop.clock) == (env, policy, clock)
    with loop.episode():
        loop.restart()
    assert loop.end_episode() == {}
    assert loop.summary() == {}


@pytest.fixture
def paced(tmp_path):
    """A run at 20 Hz on a clock that only the loop's sleeping moves."""
    with registered():
        config = tiny_run("fake", steps=30)
        config = replace(config, runtime=replace(config.runtime, rate_hz=20.0))
        recorder = Recorder()
        run = prepare(config, tmp_path / "run", subscribers=[recorder], clock=FakeClock())
        run.run()
        yield run, recorder, tmp_path / "run"


def test_a_paced_run_takes_its_time_and_says_how_well_it_kept_it(paced):
    run, recorder, path = paced
    rows = [e.metrics for e in recorder.of(LearnerUpdated) if "loop/period_p50_ms" in e.metrics]
    assert len(rows) == run.state.episodes
    for row in rows:
        assert row["loop/period_p50_ms"] == pytest.approx(50.0, rel=0.02)
        assert row["loop/late"] == row["loop/overruns"] == 0.0
    assert not recorder.of(Notice)
    steps = run.state.env_steps
    assert run.state.wall_s == pytest.approx(steps / 20.0)
    periods = json.loads((path / "loop.json").read_text())
    assert periods["hz"] == 20.0


def test_the_rate_changes_nothing_of_what_is_learned(paced, tmp_path):
    run, _, _ = paced
    config = replace(run.config, runtime=replace(run.config.runtime, rate_hz=0.0))
    unpaced = train(config, tmp_path / "unpaced")
    assert fingerprint(unpaced)["parameters"] == fingerprint(run)["parameters"]
    # Their files differ in the time stamps: these are of the rate.
    there, here = (read_dataset(each.folder.episodes) for each in (unpaced, run))
    assert len(there) == len(here) > 2
    for one, other in zip(there, here, strict=True):
        assert_equal(one, other)


def test_an_evaluation_is_no_stall(tmp_path):
    clock = FakeClock()

    def evaluation(agent, spec, drive):
        clock.advance(60.0)
        return {"success_rate": 0.5, "successes": 1.0, "episodes": 2.0, "mean_success_length": 3.0}

    with registered():
        config = tiny_run("fake", steps=30)  # evaluates in the middle of an episode
        config = replace(config, runtime=replace(config.runtime, rate_hz=20.0))
        recorder = Recorder()
        run = prepare(
            config,
            tmp_path / "run",
            subscribers=[recorder],
            clock=clock,
            evaluate_with=evaluation,
        )
        run.run()
    assert len(recorder.of(Evaluated)) >= 2
    assert not recorder.of(Notice)


def test_a_slow_environment_is_named(tmp_path):
    clock = FakeClock()
    recorder = Recorder()
    with registered():
        config = tiny_run("fake", steps=30)
        config = replace(config, runtime=replace(config.runtime, rate_hz=20.0))
        run = prepare(config, tmp_path / "run", subscribers=[recorder], clock=clock)
        step = run.env.step

        def slow(action):
            clock.advance(0.08)
            return step(action)

        run.env.step = slow
        run.run()
    notices = recorder.of(Notice)
    assert notices
    assert "asked for 20 Hz and reaches 12.5 Hz" in notices[0].text
    assert "most on the environment 80.0 ms" in notices[0].text
