"""What is done before the robots come, and what the first of them brings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from silri.core.clock import FakeClock
from silri.core.errors import ConfigError, UsageError
from silri.runtime.cluster.hub import Hub
from silri.runtime.cluster.paths import LivePaths, read_record
from silri.runtime.cluster.setup import prepare_run, wait_for_spec
from silri.runtime.keeping.folder import RunFolder
from tests.fakes.envs.point import FakeEnvConfig, PointMass
from tests.fakes.lab import configuration
from tests.fakes.models.agent import registered
from tests.fakes.runs import tiny_run, train


@pytest.fixture(scope="module", autouse=True)
def fake():
    with registered():
        yield


@pytest.fixture
def opened(monkeypatch):
    """Every environment that is made."""
    made = []
    create = FakeEnvConfig.create
    monkeypatch.setattr(FakeEnvConfig, "create", lambda self: made.append(self) or create(self))
    return made


@pytest.fixture
def folder(tmp_path):
    made = RunFolder.create(tmp_path / "run", configuration())
    prepare_run(made, configuration())
    return made


def told(env="one-arm"):
    return PointMass(env).env_spec.to_json()


def test_a_run_is_set_up_without_opening_an_environment(folder, opened):
    config = configuration()
    setup = read_record(LivePaths(folder.path).setup)
    assert setup["demos"] == config.data.demos
    assert setup["dataset"] is None
    assert setup["max_lag"] == config.runtime.max_lag
    assert setup["run"]["agent_name"] == "fake"
    assert "spec" not in setup
    Hub(folder.path).close()
    assert opened == []


def test_the_learner_waits_for_the_first_robots_spec_and_says_so(folder):
    clock, said, asked = FakeClock(), [], []

    def stop():
        asked.append(1)
        if len(asked) == 5:
            hub = Hub(folder.path)
            hub.introduce("left", told(), ["size"])
            hub.close()
        return False

    spec = wait_for_spec(folder, stop, clock, said.append)
    assert spec == PointMass().env_spec
    assert said == ["waiting for the first robot: it says what it observes and does"]
    assert clock.now() > 0.5


def test_asked_to_stop_it_waits_no_longer(folder):
    assert wait_for_spec(folder, lambda: True, FakeClock(), lambda text: None) is None


def test_a_resumed_learner_knows_the_spec_from_its_folder(folder):
    hub = Hub(folder.path)
    hub.introduce("left", told(), ["size"])
    hub.close()
    live = LivePaths(folder.path)
    before = read_record(live.setup)
    live.progress.write_text('{"phase": "done", "version": 7}')
    prepare_run(folder, replace(configuration(), steps=99))
    after = read_record(live.setup)
    assert after["run_id"] == before["run_id"]
    assert after["run"]["steps"] == 99
    assert read_record(live.progress) == {}  # or the hub would tell the robots that all is done

    def nobody():
        raise AssertionError("it waits")

    assert wait_for_spec(folder, nobody, FakeClock(), print) == PointMass().env_spec


@pytest.mark.parametrize(
    ("other", "field"),
    [("two-arms", "observation.environment_state"), ("no-gripper", "action")],
)
def test_a_second_robot_that_differs_is_refused_by_field(folder, other, field):
    hub = Hub(folder.path)
    hub.introduce("left", told(), ["size"])
    with pytest.raises(UsageError, match=rf"^{field} of fake/{other} on robot 'right' is"):
        hub.introduce("right", told(other), ["size"])
    hub.introduce("right", told() | {"name": "another", "max_episode_steps": 3}, ["size"])
    hub.close()


def test_the_data_set_comes_in_with_the_spec(tmp_path):
    train(replace(tiny_run("fake"), steps=6), tmp_path / "given")
    base = configuration()
    config = replace(base, data=replace(base.data, dataset=str(tmp_path / "given/episodes")))
    folder = RunFolder.create(tmp_path / "run", config)
    prepare_run(folder, config)
    hub = Hub(folder.path)
    with pytest.raises(UsageError, match="is not registered"):
        hub.beat("left", "a", {})
    hub.introduce("left", told(), ["size"])
    stored = len(hub.store.rows)
    assert stored > config.data.demos
    hub.introduce("left", told(), ["size"])
    assert len(hub.store.rows) == stored
    hub.close()


def test_two_runs_have_other_ids(tmp_path):
    ids = set()
    for name in ("a", "b"):
        folder = RunFolder.create(tmp_path / name, configuration())
        prepare_run(folder, configuration())
        ids.add(read_record(LivePaths(folder.path).setup)["run_id"])
    assert len(ids) == 2


def test_an_agent_that_does_not_learn_online_is_refused(tmp_path):
    config = replace(tiny_run("bc"), steps=0)
    folder = RunFolder.create(tmp_path / "run", config)
    with pytest.raises(ConfigError, match="agent bc is trained before the first episode"):
        prepare_run(folder, config)
    assert not (tmp_path / "run/episodes").exists()
