"""A whole run without Ray: learner, hub, uplink and control loop, as threads of one process."""

from __future__ import annotations

import json
import threading

import pytest

from silri.core.clock import MonotonicClock
from silri.evaluation.evaluate import evaluation_of
from silri.evaluation.summary import summarise
from silri.runtime.cluster import uplink as uplink_module
from silri.runtime.cluster.control import RobotLoop
from silri.runtime.cluster.hub import Hub
from silri.runtime.cluster.learner import Learner
from silri.runtime.cluster.setup import prepare_run, wait_for_spec
from silri.runtime.cluster.spool import Spool
from silri.runtime.cluster.uplink import Uplink, run_uplink
from silri.runtime.keeping.folder import RunFolder
from silri.runtime.starting.prepare import make_operator
from silri.store.dataset import read_dataset
from tests.fakes.envs.point import FakeEnvConfig, PointMass
from tests.fakes.lab import configuration
from tests.fakes.models.agent import registered
from tests.fakes.runs import Recorder


@pytest.fixture(scope="module", autouse=True)
def fake():
    with registered():
        yield


class Wire:
    """Straight to the hub, with copies as on a wire."""

    def __init__(self, hub):
        self._hub = hub

    def call(self, method, *arguments, timeout_s):
        copies = (a if isinstance(a, bytes) else json.loads(json.dumps(a)) for a in arguments)
        answer = getattr(self._hub, method)(*copies)
        return answer if isinstance(answer, bytes) else json.loads(json.dumps(answer))

    def close(self):
        pass


def test_a_robot_brings_spec_demonstrations_episodes_and_evaluations(tmp_path, monkeypatch):
    """The learner's machine opens no environment; the robot opens one, once."""
    for name in ("BEAT_S", "FETCH_S"):
        monkeypatch.setattr(uplink_module, name, 0.02)
    opened = []

    def create(self):
        opened.append(self)
        raise AssertionError("nobody but the robot opens an environment")

    monkeypatch.setattr(FakeEnvConfig, "create", create)
    config, clock = configuration(), MonotonicClock()
    folder, env = RunFolder.create(tmp_path / "run", config), PointMass()
    prepare_run(folder, config)
    hub, over = Hub(folder.path), threading.Event()
    spool = tmp_path / "spool"
    recorder, results = Recorder(), {}

    def learn():
        spec = wait_for_spec(folder, over.is_set, clock, lambda text: None)
        results["spec"] = spec
        learner = Learner(config, folder, spec, summarise=summarise, stop=over.is_set)
        results["summary"] = learner.run()

    def drive():
        loop = RobotLoop(
            config,
            Spool(spool, "arm"),
            env,
            make_operator(config, env),
            clock,
            over.is_set,
            evaluate=evaluation_of(config.evaluation),
            subscribers=[recorder],
        )
        loop.run()
        results["driven"] = True

    def send():
        uplink = Uplink(Spool(spool, "arm"), lambda: Wire(hub), clock)
        run_uplink(uplink, over.is_set, clock, drain_s=5.0)

    Spool(spool, "arm")
    threads = [threading.Thread(target=work, daemon=True) for work in (learn, drive, send)]
    for thread in threads:
        thread.start()
    threads[0].join(timeout=120)
    threads[1].join(timeout=30)  # it is told that all is done
    over.set()
    threads[2].join(timeout=30)
    hub.close()
    assert results["spec"] == env.env_spec
    assert results["driven"]
    assert opened == []
    assert env.closed
    summary = results["summary"]
    assert (summary["completed"], summary["demo_episodes"]) == (True, config.data.demos)
    assert summary["env_steps"] >= config.steps
    assert len(summary["evaluations"]) >= 2
    stored = read_dataset(folder.episodes)
    demos = [episode for episode in stored if episode.is_demo]
    assert [len({e.seed for e in demos}), len(demos)] == [config.data.demos] * 2
    assert all(e.origin.startswith("arm/") for e in stored)
