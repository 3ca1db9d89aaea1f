"""Acceptance test 13: a run that was stopped and resumed is the run that was never stopped."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from silri.agents.stages import ONLINE, Stage
from silri.core.errors import CheckpointError
from silri.core.events import Notice
from silri.runtime.keeping.checkpoint import CheckpointStore
from silri.runtime.session import Interrupted
from silri.store.dataset import read_dataset
from silri.store.format.layout import SILRI_FORMAT
from tests.fakes.envs.point import PointMass
from tests.fakes.runs import (
    Recorder,
    StopAfter,
    assert_equal_runs,
    fingerprint,
    interrupt,
    prepare,
    tiny_agent,
    tiny_run,
    train,
)

# Two episodes set aside: one whose broken step was folded, one whose environment raised in it.
FAULTS = {"folded": "fake/one-arm!nan-observation:2@3", "raised": "fake/one-arm!raises:2@3,5"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that was never stopped, by configuration; trained once each."""
    runs = {}

    def get(config):
        if config not in runs:
            path = tmp_path_factory.mktemp("whole") / "run"
            runs[config] = (train(config, path), path)
        return runs[config]

    return get


def test_the_fake_run_is_worth_stopping(whole):
    run, path = whole(tiny_run())
    episodes = read_dataset(path / "episodes")
    online = [episode for episode in episodes if not episode.is_demo]
    assert len({len(episode) for episode in online}) > 1
    assert {episode.frames["terminated"][-1] for episode in online} == {True, False}
    assert run.state.interventions > 2
    assert 0 < run.state.intervention_steps < run.state.env_steps
    assert run.state.operator["success"] > 0  # there is something to restore


def test_equal_seeds_are_equal_runs_and_others_are_not(whole, tmp_path):
    run, path = whole(tiny_run())
    assert_equal_runs(run, path, train(tiny_run(), tmp_path / "again"), tmp_path / "again")
    other = train(tiny_run(seed=1), tmp_path / "other")
    assert fingerprint(other)["parameters"] != fingerprint(run)["parameters"]


@pytest.mark.parametrize("steps", range(1, 30, 4))
def test_stopped_once(whole, tmp_path, steps):
    interrupt(tiny_run(), tmp_path / "run", steps)
    assert_equal_runs(train(tiny_run(), tmp_path / "run"), tmp_path / "run", *whole(tiny_run()))


def test_stopped_again_and_again(whole, tmp_path):
    sessions = 0
    for steps in (3, 9, 10, 2, 12):
        try:
            prepare(tiny_run(), tmp_path / "run", stop=StopAfter(steps)).run()
        except Interrupted:
            sessions += 1
    assert sessions == 5
    assert_equal_runs(train(tiny_run(), tmp_path / "run"), tmp_path / "run", *whole(tiny_run()))


def test_a_schedule_of_stages(whole, tmp_path):
    """Learnt once, before the first step, and counted when online learning goes on."""
    config = tiny_run(preset="released")
    stages = (Stage("clone", "guidance", 100), Stage("offline", "mix", 3, True), ONLINE)
    config = replace(config, agent=replace(config.agent, stages=stages))
    run, path = whole(config)
    first = len(next(e for e in read_dataset(path / "episodes") if not e.is_demo))
    assert run.state.updates == 3 + run.state.env_steps - first
    for steps in (9, 14):
        interrupt(config, tmp_path / "run", steps)
    assert_equal_runs(train(config, tmp_path / "run"), tmp_path / "run", run, path)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("checkpoint_every", [10, 1000])
def test_quarantined_episodes_are_learnt_over_alike(whole, tmp_path, fault, checkpoint_every):
    config = tiny_run(env=FAULTS[fault])
    run, path = whole(config)
    assert run.state.quarantined == (1 if fault == "folded" else 2)
    slow = replace(config, runtime=replace(config.runtime, checkpoint_every=checkpoint_every))
    interrupt(slow, tmp_path / "run", 26)
    for checkpoint in CheckpointStore(tmp_path / "run/checkpoints").steps()[1:]:
        shutil.rmtree(tmp_path / f"run/checkpoints/{checkpoint:09d}")
    assert_equal_runs(train(slow, tmp_path / "run"), tmp_path / "run", run, path)


def test_without_any_checkpoint_everything_is_learnt_again(whole, tmp_path):
    interrupt(tiny_run(), tmp_path / "run", 20)
    shutil.rmtree(tmp_path / "run/checkpoints")
    assert_equal_runs(train(tiny_run(), tmp_path / "run"), tmp_path / "run", *whole(tiny_run()))


def test_a_damaged_newest_checkpoint(whole, tmp_path):
    run, path = whole(tiny_run())
    shutil.copytree(path, tmp_path / "run", symlinks=True)
    newest = tmp_path / "run/checkpoints/last/arrays.safetensors"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(bytes(content))
    recorder = Recorder()
    again = train(tiny_run(), tmp_path / "run", subscribers=[recorder])
    texts = [event.text for event in recorder.of(Notice)]
    assert len(texts) == 1
    assert f"{run.state.env_steps:09d} is not used: arrays.safetensors" in texts[0]
    assert_equal_runs(again, tmp_path / "run", run, path)


def test_a_checkpoint_of_another_configuration_names_the_field(tmp_path):
    interrupt(tiny_run(), tmp_path / "run", 10)
    wider = tiny_agent()
    wider = replace(wider, trunk=replace(wider.trunk, hidden=(16, 24)))
    with pytest.raises(CheckpointError, match=r"'critic/\S+/kernel' is .*, 16, .*, 24, "):
        prepare(replace(tiny_run(), agent=wider), tmp_path / "run").run()


def test_a_finished_run_stays_as_it_is(whole, tmp_path):
    run, path = whole(tiny_run())
    shutil.copytree(path, tmp_path / "run", symlinks=True)
    assert_equal_runs(train(tiny_run(), tmp_path / "run"), tmp_path / "run", run, path)


def test_a_longer_budget_goes_on_from_the_end(whole, tmp_path):
    run, path = whole(tiny_run())
    shutil.copytree(path, tmp_path / "run", symlinks=True)
    longer = train(tiny_run(steps=45), tmp_path / "run")
    assert longer.state.env_steps >= 45
    first = [row.data_sha256 for row in run.store.rows]
    assert [row.data_sha256 for row in longer.store.rows][: len(first)] == first
    steps = [row["step"] for row in longer.state.evaluations]
    assert steps == sorted(set(steps))
    assert steps[-1] == longer.state.env_steps
    # Apart from the evaluation at the old end it is the run that was asked for at once.
    at_once, _ = whole(tiny_run(steps=45))
    assert fingerprint(longer)["parameters"] == fingerprint(at_once)["parameters"]
    assert fingerprint(longer)["episodes"] == fingerprint(at_once)["episodes"]


def test_wall_clock_adds_up_over_sessions(tmp_path):
    first = interrupt(tiny_run(), tmp_path / "run", 20)
    second = train(tiny_run(), tmp_path / "run")
    assert second.state.wall_s > first.state.wall_s
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    seconds = [row["wall_s"] for row in rows]
    assert seconds == sorted(seconds)


def test_a_run_whose_folder_says_another_rate_goes_on(tmp_path, whole, monkeypatch):
    """Datasets of older versions said 10 frames per second, whatever the environment had."""
    config, path = tiny_run(), tmp_path / "run"
    other, other_path = whole(config)
    interrupt(config, path, 15)
    create = PointMass.__init__

    def faster(self, *arguments):
        create(self, *arguments)
        self.env_spec = replace(self.env_spec, control_hz=40.0)

    monkeypatch.setattr(PointMass, "__init__", faster)
    assert_equal_runs(train(config, path), path, other, other_path)
    for run, fps in ((path, 10), (train(config, tmp_path / "new").folder.path, 40)):
        assert json.loads((run / "episodes/meta/info.json").read_text())["fps"] == fps


def test_episodes_of_the_first_format_are_migrated_and_the_run_goes_on(tmp_path, whole):
    config = tiny_run()
    path = tmp_path / "run"
    interrupt(config, path, 15)
    info = json.loads((path / "episodes/meta/info.json").read_text())
    assert info.pop("silri_format") == SILRI_FORMAT
    (path / "episodes/meta/info.json").write_text(json.dumps(info))

    other, other_path = whole(config)
    assert_equal_runs(train(config, path), path, other, other_path)
    info = json.loads((path / "episodes/meta/info.json").read_text())
    assert info["silri_format"] == SILRI_FORMAT
