"""What is done before the robots come."""

from __future__ import annotations

from dataclasses import replace

import pytest

from silri.core.errors import ConfigError
from silri.data.store import EpisodeStore
from silri.runtime.cluster.paths import LivePaths, read_record
from silri.runtime.cluster.setup import prepare_run
from silri.runtime.folder import RunFolder
from tests.fakes.agent import registered
from tests.fakes.lab import Lab, configuration
from tests.fakes.runs import tiny_run


@pytest.fixture(scope="module", autouse=True)
def fake():
    with registered():
        yield


@pytest.fixture
def lab(tmp_path):
    made = Lab(tmp_path / "run", configuration())
    yield made
    made.store.close()


def test_a_run_is_set_up_for_hub_and_robots(lab):
    setup = read_record(lab.live.setup)
    rows = lab.store.rows
    assert setup["demo_steps"] == sum(row.steps for row in rows)
    assert all(row.is_demo for row in rows)
    assert len(rows) == lab.config.data.demos
    assert setup["spec"] == lab.spec.to_json()
    assert setup["max_lag"] == lab.config.runtime.max_lag
    assert setup["run"]["agent_name"] == "fake"


def test_set_up_again_it_is_the_same_run(lab):
    lab.send(3)
    lab.store.close()
    before = read_record(lab.live.setup)
    lab.live.progress.write_text('{"phase": "done", "version": 7}')
    larger = replace(lab.config, steps=99)
    assert prepare_run(lab.folder, larger, lambda: False) == []
    after = read_record(lab.live.setup)
    assert after["run_id"] == before["run_id"]
    assert after["run"]["steps"] == 99
    assert after["demo_steps"] == before["demo_steps"]
    assert lab.progress() == {}  # or the hub would tell the robots that all is done
    lab.store = EpisodeStore(lab.folder.episodes, lab.folder.quarantine, lab.spec, ())
    assert len(lab.store) == lab.demos + 3


def test_two_runs_have_other_ids(tmp_path):
    ids = set()
    for name in ("a", "b"):
        lab = Lab(tmp_path / name, configuration())
        ids.add(read_record(lab.live.setup)["run_id"])
        lab.store.close()
    assert len(ids) == 2


def test_stopped_while_demonstrations_are_recorded_it_goes_on(tmp_path):
    config = configuration()
    config = replace(config, data=replace(config.data, demos=3))
    folder = RunFolder.create(tmp_path / "run", config)
    asked = []

    def stop():
        asked.append(1)
        return len(asked) > 12

    prepare_run(folder, config, stop)
    spec = config.env.create().env_spec
    with EpisodeStore(folder.episodes, folder.quarantine, spec, ()) as store:
        first = len(store)
    assert 0 < first < 3
    prepare_run(folder, config, lambda: False)
    with EpisodeStore(folder.episodes, folder.quarantine, spec, ()) as store:
        assert len(store) == 3
        assert len({row.seed for row in store.rows}) == 3
        steps = sum(row.steps for row in store.rows)
    assert read_record(LivePaths(folder.path).setup)["demo_steps"] == steps


def test_an_agent_that_does_not_learn_online_is_refused(tmp_path):
    config = replace(tiny_run("bc"), steps=0)
    folder = RunFolder.create(tmp_path / "run", config)
    with pytest.raises(ConfigError, match="agent bc is trained before the first episode"):
        prepare_run(folder, config, lambda: False)
    assert not (tmp_path / "run/episodes").exists()
