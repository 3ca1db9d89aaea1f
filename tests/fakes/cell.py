"""One robot's folder, an environment that breaks on demand, and loops that drive there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from silri.agents.registry import load_agent
from silri.core.clock import FakeClock
from silri.core.errors import EnvironmentFault
from silri.evaluation.evaluate import evaluation_of
from silri.runtime.cluster.control import RobotLoop
from silri.runtime.cluster.parameters import Parameters, pack, write_parameters
from silri.runtime.cluster.paths import SpoolPaths
from silri.runtime.cluster.spool import Spool, decode_upload
from silri.runtime.keeping.export import encode_parameters
from silri.runtime.starting.prepare import make_operator
from silri.store.format.sealed import sealed_json
from silri.store.safety import files
from silri.vision.config import VisionConfig
from silri.vision.sight import Sight
from silri.vision.sighted import Sighted
from tests.fakes.envs.point import PointMass
from tests.fakes.runs import Recorder, tiny_run


class Faulty(PointMass):
    """Breaks in step ``at`` of every episode in ``episodes`` (by count of resets, from 0)."""

    def __init__(self, episodes=(), at=2, kind="raises"):
        super().__init__()
        self.episodes, self.at, self.kind = episodes, at, kind

    def step(self, action):
        observation, *rest = super().step(action)
        if len(self.resets) - 1 in self.episodes and self._taken == self.at:
            if self.kind == "raises":
                raise EnvironmentFault("the gripper fell off")
            observation["state"][0] = np.nan
            rest[1] = rest[2] = False
        return observation, *rest


class Stop:
    """Turns True at the ``at``-th episode of the spool, or when told; looks at every question."""

    def __init__(self, spool, episodes):
        self.spool, self.episodes, self.asked, self.hook = spool, episodes, 0, lambda: None

    def __call__(self):
        self.asked += 1
        assert self.asked < 10_000, "it does not get there"
        self.hook()
        return len(self.spool.waiting()) >= self.episodes


class Cell:
    """One robot's folder, and loops that drive there."""

    def __init__(self, folder, name="arm", **runtime):
        base = tiny_run("fake")
        self.config = replace(base, runtime=replace(base.runtime, **runtime))
        # Layouts derive from the identity: a fixed one makes the episodes the same ones always.
        files.make_dir(folder)
        identity = sealed_json({"robot": name, "spool": f"always-{name}"})
        (folder / "identity.json").write_bytes(identity)
        self.spool = Spool(folder, name)
        self.paths = SpoolPaths(folder)
        self.clock, self.recorder = FakeClock(), Recorder()

    def loop(self, episodes=3, env=None, config=None, stop=None, commands=None):
        self.env = env or PointMass()
        self.stop = stop or Stop(self.spool, episodes)
        config = config or self.config
        return RobotLoop(
            config,
            self.spool,
            self.env,
            make_operator(config, self.env),
            self.clock,
            self.stop,
            evaluate=evaluation_of(config.evaluation),
            subscribers=[self.recorder],
            commands=commands,
        )

    def publish(self, version, seed=0, damage=False):
        spec = PointMass().env_spec
        agent = load_agent("fake").agent.create(self.config.agent, spec, seed)
        acting = Sighted(agent, Sight(VisionConfig(), spec))
        data = pack(Parameters(version, encode_parameters(acting)))
        write_parameters(self.paths.policy, data[: -40 if damage else None])

    def episodes(self):
        """What waits, with its frames."""
        sent = [decode_upload(self.spool.read(number), "here") for number in self.spool.waiting()]
        return [upload._replace(episode=upload.episode.decode()) for upload in sent]

    def versions(self):
        return [
            sorted(set(upload.episode.frames["policy_version"].tolist()))
            for upload in self.episodes()
        ]
