"""The learner of a cluster run: what it counts, owes, saves and lays down, without any robot."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from silri.core.clock import FakeClock
from silri.core.events import EpisodeFinished, Notice
from silri.runtime.cluster.learner import IDLE_NOTICE_S
from silri.runtime.cluster.paths import LivePaths
from silri.runtime.keeping.checkpoint import tree_hash
from silri.runtime.keeping.export import decode_parameters
from silri.runtime.keeping.folder import RunFolder
from silri.runtime.session import Interrupted
from silri.runtime.starting.prepare import collect_demonstrations, make_operator
from silri.store.safety import files
from tests.fakes.lab import STEPS, Lab, configuration
from tests.fakes.models.agent import registered


@pytest.fixture(scope="module", autouse=True)
def fake():
    with registered():
        yield


@pytest.fixture
def lab(tmp_path):
    made = Lab(tmp_path / "run", configuration())
    yield made
    made.store.close()


def stop_at(updates):
    return lambda lab, learner: learner.state.updates >= updates


def one_when_idle(lab, learner):
    """Each time all is learned, the next episode arrives."""
    wanted = learner.state.env_steps < lab.config.steps
    if wanted and hasattr(learner, "_follower") and learner._owed() <= 0:
        lab.send()
    return False


def test_each_episode_is_counted_once(lab):
    learner = lab.learner(one_when_idle)
    learner.run()
    counted = [e.episode_id for e in lab.recorder.of(EpisodeFinished)]
    assert counted == list(range(lab.demos, lab.demos + lab.sent))
    assert learner.state.env_steps == sum(STEPS[n % 5] for n in range(lab.sent)) >= 30
    assert learner.state.episodes == lab.sent
    assert len(learner.mixer.online) == learner.state.env_steps
    assert lab.progress()["phase"] == "done"
    assert lab.progress()["env_steps"] == learner.state.env_steps
    assert json.loads(lab.folder.summary.read_text())["env_steps"] == learner.state.env_steps


@pytest.mark.parametrize("per_step", [0.25, 1.0, 2.5])
def test_it_owes_so_many_iterations_per_step_and_never_does_more(tmp_path, per_step):
    lab = Lab(tmp_path / "run", configuration(updates_per_step=per_step))
    learner = lab.learner(one_when_idle)
    learner.run()
    assert min(lab.owed) == 0
    assert learner.state.updates == int(learner.state.env_steps * per_step)
    lab.store.close()


def test_without_episodes_it_learns_nothing_and_says_so(lab):
    def patient(lab, learner):
        return lab.clock.now() > 2.5 * IDLE_NOTICE_S

    learner = lab.learner(patient)
    with pytest.raises(Interrupted):
        learner.run()
    assert learner.state.updates == 0
    waits = [n for n in lab.recorder.of(Notice) if "waits for a robot" in n.text]
    assert len(waits) == 2


def test_it_evaluates_where_the_steps_cross(lab):
    lab.send(8)  # 4, 10, 13, 18, 20, 24, 30, 33
    lab.learner().run()
    assert lab.evaluated == [13, 24, 30]  # and at the end
    assert [
        e["step"] for e in lab.learner().checkpoints.load_newest(_fresh(lab)).state["evaluations"]
    ] == [13, 24, 30]


def _fresh(lab):
    learner = lab.learner()
    learner._load()
    return learner.agent


def test_what_is_beyond_the_budget_is_kept_for_a_larger_one(lab):
    lab.send(9)  # the last two are not needed for 30 steps
    learner = lab.learner()
    learner.run()
    assert learner.state.env_steps == 30
    larger = replace(lab.config, steps=38)
    again = lab.learner(config=larger)
    again.run()
    assert again.state.env_steps == 38
    assert again.state.updates == 38
    counted = [e.episode_id for e in lab.recorder.of(EpisodeFinished)]
    assert counted == list(range(lab.demos, lab.demos + 9))


def test_versions_grow_and_are_the_agents(lab):
    seen = []

    def watch(lab, learner):
        one_when_idle(lab, learner)
        if lab.live.policy.exists():
            seen.append(lab.published().version)
        return False

    learner = lab.learner(watch)
    learner.run()
    versions = sorted(set(seen))
    assert seen == sorted(seen)
    assert versions[0] == 0
    assert {4, 8, 12} <= set(versions)
    assert lab.progress()["version"] in versions


def test_what_is_published_when_idle_is_the_newest_agent(lab):
    lab.send(2)
    learner = lab.learner(lambda lab, learner: lab.clock.now() > 3)
    with pytest.raises(Interrupted):
        learner.run()
    parameters = lab.published()
    assert parameters.version == learner.state.updates == 10
    acting = decode_parameters(parameters.arrays, learner.acting, "here")
    assert np.allclose(acting.agent.weights, learner.agent.weights)
    assert lab.progress()["version"] == 10


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The parameters of a run that nobody stopped."""
    lab = Lab(tmp_path_factory.mktemp("whole") / "run", configuration())
    lab.send(7)
    learner = lab.learner()
    learner.run()
    lab.store.close()
    return tree_hash(learner.agent)


@pytest.mark.parametrize("updates", [0, 9, 17])
def test_stopped_and_resumed_it_is_the_run_that_was_never_stopped(lab, whole, updates):
    """All episodes are there from the start, so that both learn on the same schedule."""
    lab.send(7)
    learner = lab.learner(stop_at(updates))
    with pytest.raises(Interrupted):
        learner.run()
    assert learner.state.updates == updates
    if updates:
        assert learner.checkpoints.load_newest(learner.agent).state["updates"] == updates
    learner = lab.learner()
    learner.run()
    assert (learner.state.env_steps, learner.state.updates) == (30, 30)
    assert learner.state.episodes == 7
    assert tree_hash(learner.agent) == whole


@pytest.mark.parametrize("every", [13, pytest.param(4, marks=pytest.mark.slow)])
def test_killed_before_any_write_and_resumed_it_is_that_run_too(
    tmp_path, whole, monkeypatch, every
):
    """What a killed learner leaves is what is on the disk: the folder, before each write."""
    lab = Lab(tmp_path / "run", configuration())
    lab.send(7)
    lab.store.close()
    left, calls = [], []

    def before(step, path):
        calls.append(step)
        if len(calls) % every == 0:
            left.append(tmp_path / f"left-{len(calls)}")
            shutil.copytree(lab.folder.path, left[-1], symlinks=True)

    monkeypatch.setattr(files, "on_write", before)
    lab.learner().run()
    monkeypatch.setattr(files, "on_write", None)
    assert len(calls) > 100
    for path in left:
        lab.folder, lab.live = RunFolder(path), LivePaths(path)
        learner = lab.learner()
        learner.run()
        assert (learner.state.env_steps, learner.state.updates) == (30, 30), path
        assert learner.state.episodes == 7, path
        assert tree_hash(learner.agent) == whole, path
        assert learner.checkpoints.load_newest(learner.agent).messages == [], path


def test_killed_between_checkpoints_it_counts_nothing_twice(tmp_path):
    """It dies without a word; the next one goes on from the last checkpoint."""

    class Killed(BaseException):
        pass

    lab = Lab(tmp_path / "run", configuration(checkpoint_every=8))
    seen = []

    def dies(lab, learner):
        one_when_idle(lab, learner)
        if learner.state.updates >= len(seen) * 7 + 9:
            seen.append(learner.state.env_steps)
            raise Killed
        return False

    for _ in range(3):
        with pytest.raises(Killed):
            lab.learner(dies).run()
    learner = lab.learner(one_when_idle)
    learner.run()
    assert learner.state.episodes == lab.sent
    assert learner.state.env_steps == sum(STEPS[n % 5] for n in range(lab.sent))
    assert learner.state.updates == learner.state.env_steps
    assert len(learner.mixer.online) == learner.state.env_steps
    lab.store.close()


def test_without_checkpoints_everything_that_is_stored_is_learned_anew(lab):
    lab.send(7)
    learner = lab.learner(stop_at(3))
    with pytest.raises(Interrupted):
        learner.run()
    for step in learner.checkpoints.steps():
        for path in sorted(lab.folder.checkpoints.glob(f"{step:09d}/*")):
            path.unlink()
        (lab.folder.checkpoints / f"{step:09d}").rmdir()
    learner = lab.learner()
    learner.run()
    assert (learner.state.env_steps, learner.state.demo_episodes) == (30, lab.demos)


def test_what_it_leaves_for_the_hub(lab):
    lab.send(2)
    records = []

    def watch(lab, learner):
        lab.clock.advance(1.0)
        records.append(lab.progress())
        return lab.clock.now() > 30

    with pytest.raises(Interrupted):
        lab.learner(watch).run()
    training = [r for r in records if r["phase"] == "training"]
    assert {r["pid"] for r in training} == {os.getpid()}
    assert all(r["learning"] for r in training)
    assert [r["learnt_steps"] for r in training] == sorted(r["learnt_steps"] for r in training)
    assert training[-1]["learnt_steps"] == training[-1]["env_steps"] == 10
    assert not records[0]["learning"]
    beats = [r["beat"] for r in training]
    assert len(set(beats)) > 10


def test_nobody_waits_for_a_fraction_of_an_iteration(tmp_path):
    """With one iteration for 1000 steps, 10 steps are learned as soon as they are known."""
    lab = Lab(tmp_path / "run", configuration(updates_per_step=0.001))
    lab.send(2)

    def watch(lab, learner):
        lab.clock.advance(1.0)
        return lab.clock.now() > 5

    with pytest.raises(Interrupted):
        lab.learner(watch).run()
    assert lab.progress()["learnt_steps"] == 10
    lab.store.close()


def test_a_robot_evaluates_what_was_published_and_the_learner_waits_for_it(lab):
    lab.send(7)
    learner = lab.learner()
    learner.run()
    assert [p["phase"] for p in lab.phases] == ["evaluating"] * 2 + ["finishing"]
    assert lab.phases[0]["learning"] is True
    for progress in lab.phases:
        assert progress["evaluate"]["version"] == progress["version"]
    rates = [e["success_rate"] for e in learner.state.evaluations]
    assert rates == [0.5] * 3
    assert lab.progress()["evaluate"] is None


def test_nobody_evaluates_and_it_says_so_until_it_is_stopped(lab):
    lab.send(7)
    lab.answered = None
    lab.deaf = True
    learner = lab.learner(lambda lab, learner: lab.clock.now() > 2.5 * IDLE_NOTICE_S)
    with pytest.raises(Interrupted):
        learner.run()
    waits = [n for n in lab.recorder.of(Notice) if "waits for a robot to evaluate" in n.text]
    assert len(waits) == 2
    assert learner.state.evaluations == []
    lab.deaf = False
    again = lab.learner()
    again.run()
    assert again.state.env_steps == 30


def test_without_evaluations_nobody_is_asked(tmp_path):
    lab = Lab(tmp_path / "run", configuration(every=0))
    lab.send(7)
    lab.learner().run()
    assert lab.evaluated == []
    summary = json.loads(lab.folder.summary.read_text())
    assert (summary["success_rate"], summary["completed"]) == (None, True)
    assert (lab.folder.policy / "policy.safetensors").is_file()
    lab.store.close()


def test_it_waits_for_the_demonstrations_of_a_robot(tmp_path):
    lab = Lab(tmp_path / "run", configuration())
    wanted = replace(lab.config, data=replace(lab.config.data, demos=lab.demos + 1))
    env = lab.config.create_env()
    operator = make_operator(wanted, env)

    def one_more(lab, learner):
        if lab.clock.now() > 1.5 * IDLE_NOTICE_S and lab.demos < wanted.data.demos:
            collect_demonstrations(wanted, env, operator, lab.store, lambda: False, FakeClock())
            lab.demos += 1
        return one_when_idle(lab, learner)

    learner = lab.learner(one_more, config=wanted)
    learner.run()
    assert learner.state.demo_episodes == lab.demos
    waits = [n.text for n in lab.recorder.of(Notice)]
    assert waits == ["the learner waits for 1 demonstrations of a robot"]
    lab.store.close()
