"""A cluster run without a cluster: a store that a test fills, a learner that follows it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from silri.core.clock import FakeClock
from silri.evaluation.summary import summarise
from silri.runtime.cluster.learner import Learner
from silri.runtime.cluster.parameters import unpack
from silri.runtime.cluster.paths import LivePaths, read_record, write_record
from silri.runtime.cluster.setup import prepare_run
from silri.runtime.keeping.folder import RunFolder
from silri.runtime.starting.prepare import collect_demonstrations, make_operator
from silri.store.store import EpisodeStore
from tests.data.episodes import make_episode
from tests.fakes.runs import Recorder, tiny_run

STEPS = (4, 6, 3, 5, 2)  # of the robots' episodes, over and over
EVALUATION = {"success_rate": 0.5, "successes": 1, "episodes": 2, "mean_success_length": 3.0}


def configuration(steps=30, every=12, **runtime):
    base = tiny_run("fake", steps=steps)
    fields = {"checkpoint_every": 10, "log_every": 5, "publish_every": 4} | runtime
    return replace(
        base,
        runtime=replace(base.runtime, **fields),
        evaluation=replace(base.evaluation, every=every),
    )


class Lab:
    """A run that is set up, a store that a test fills, and the learners that learn there."""

    def __init__(self, path, config):
        self.config, self.folder = config, RunFolder.create(path, config)
        prepare_run(self.folder, config)
        self.live = LivePaths(path)
        env = config.create_env()
        self.spec = env.env_spec
        self.store = EpisodeStore(self.folder.episodes, self.folder.quarantine, self.spec, ())
        # As a robot does it.
        operator = make_operator(config, env)
        collect_demonstrations(config, env, operator, self.store, lambda: False, FakeClock())
        self.demos, self.sent = len(self.store), 0
        self.clock = FakeClock()
        self.recorder, self.evaluated, self.owed = Recorder(), [], []
        self.answered, self.phases = None, []  # evaluations that a robot has made
        self.deaf = False  # no robot makes one

    def send(self, count=1):
        """What the hub does with a robot's episode."""
        for _ in range(count):
            self.store.commit(self.episode(self.store.next_episode_id))
            self.sent += 1

    def episode(self, number):
        steps = STEPS[(number - self.demos) % len(STEPS)]
        flags = np.arange(steps) == 1
        return make_episode(self.spec, number, steps, flags=flags, origin=f"arm/a:{number}")

    def learner(self, on_loop=lambda lab, learner: False, config=None):
        def stop():
            asked = self.progress().get("evaluate")
            if asked and asked != self.answered and not self.deaf:
                self.answered = asked
                self.evaluated.append(learner.state.env_steps)
                self.phases.append(self.progress())
                write_record(self.live.evaluation, {**asked, "metrics": EVALUATION})
            if hasattr(learner, "_follower"):
                self.owed.append(learner._owed())
            return on_loop(self, learner)

        learner = Learner(
            config or self.config,
            self.folder,
            self.spec,
            summarise=summarise,
            subscribers=[self.recorder],
            stop=stop,
            clock=self.clock,
        )
        return learner

    def progress(self):
        return read_record(self.live.progress)

    def published(self):
        return unpack(self.live.policy.read_bytes(), "here")
