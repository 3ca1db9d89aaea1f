"""A point mass that lights a lamp when it is there, its episodes, and a classifier of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from silri.rewards.config import FitConfig
from silri.rewards.fit import fit_classifier
from silri.store.store import EpisodeStore
from tests.data.episodes import make_episode
from tests.fakes.envs.cameras import ENCODER, SeenPoint
from tests.fakes.envs.point import REACHED, FakeEnvConfig

NAME = "tests.fakes.models.classifiers:Lamps"
CONFIG = FitConfig(
    encoder=ENCODER, size=4, hidden=8, positives=1, margin=0, updates=1_000, folds=2, held_out=0.3
)


class LampPoint(SeenPoint):
    """Both cameras see a lamp, which fills half of the picture while the point is at its goal."""

    def _seen(self, axes):
        image = super()._seen(axes)
        if (self._distance() < REACHED).all() and (self._gripper > 0).all():
            image[:16] = 255
        return image


class Lamps:
    """For the command line and :class:`~silri.configs.run.RunConfig`."""

    Config = FakeEnvConfig

    @staticmethod
    def create(config, name):
        return LampPoint("one-arm", config)


SPEC = LampPoint().env_spec


def attempt(number, *, success):
    """The expert's way to the goal, or a walk that never closes the gripper."""
    env = LampPoint()
    rows, rng, done = [env.reset(seed=number)[0]], np.random.default_rng(number), False
    while not done:
        action = np.append(rng.uniform(-1, 1, 3), -1.0)
        if success:
            action = np.clip(env.privileged().expert_action, -1, 1)
        row, _, terminated, truncated, _ = env.step(action.astype(np.float32))
        rows.append(row)
        done = terminated or truncated
    stacked = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
    episode = make_episode(SPEC, number, len(rows) - 1, terminated=success)
    return replace(episode, observations=stacked)


def write_dataset(folder, successes=12, failures=8):
    """Both kinds, successes first."""
    with EpisodeStore(folder, folder.with_name(folder.name + ".quarantine"), SPEC) as store:
        for number in range(successes + failures):
            store.commit(attempt(number, success=number < successes))
    return folder


def write_classifier(folder):
    """One that knows the lamp; its dataset lies beside it."""
    classifier, held_out = fit_classifier([write_dataset(folder / "data")], CONFIG)
    classifier.save(folder / "classifier")
    return classifier, held_out
