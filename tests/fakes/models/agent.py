"""An agent without JAX: for tests that start many processes, and so cannot wait for a compiler.

It learns in the simplest way from everything that a real agent learns from, so that one row more,
less or other, or one iteration too many, gives other weights.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import ClassVar

import numpy as np

from silri.agents.augment import PLAIN, Augmentation
from silri.agents.base import Agent, AgentConfig
from silri.agents.registry import AGENTS
from silri.agents.stages import ONLINE, Stage
from silri.core.registry import Entry, Preset
from silri.core.seeding import Stream, rng
from silri.core.settings import settings
from silri.nn.normalizer import Normalizer


@settings("agent")
class FakeConfig(AgentConfig):
    """Nothing of its own."""

    known_stages: ClassVar[tuple[str, ...]] = ("clone", "online")

    stages: tuple[Stage, ...] = (Stage("clone", "guidance", 100), ONLINE)


class FakeAgent(Agent):
    """A linear policy that is pulled towards the actions in its batches."""

    weights: np.ndarray

    @classmethod
    def create(cls, config, spec, seed, augment=PLAIN):
        sizes = {key: array.shape for key, array in spec.observation.items()}
        features = sum(int(np.prod(shape)) for shape in sizes.values())
        return cls(
            config=config,
            action_spec=spec.action,
            augmentation=Augmentation.create(augment, spec),
            normalizer=Normalizer(
                mean={key: np.zeros(shape, np.float32) for key, shape in sizes.items()},
                std={key: np.ones(shape, np.float32) for key, shape in sizes.items()},
            ),
            seed=np.asarray(seed, np.uint32),
            iterations=np.asarray(0, np.int32),
            weights=rng(seed, Stream.NETWORK_INIT).normal(0, 0.1, (spec.action.size, features)),
        )

    @classmethod
    def diagnostic_names(cls, config, spec, augment=PLAIN):
        return ["size"]

    def _features(self, observation):
        parts = [
            (observation[key] - np.asarray(mean)) / np.asarray(self.normalizer.std[key])
            for key, mean in sorted(self.normalizer.mean.items())
        ]
        return np.concatenate(parts, axis=-1).astype(np.float64)

    def act_deterministic(self, observation):
        return np.tanh(self._features(observation) @ self.weights.T).astype(np.float32)

    def act(self, observation, *, episode, step, explore):
        noise = rng(int(self.seed), Stream.ACTION_NOISE, episode, step).normal(
            0, 0.3, self.action_spec.size
        )
        action = np.clip(self.act_deterministic(observation) + explore * noise, -1, 1)
        return action.astype(np.float32), {"size": float(np.abs(self.weights).sum())}

    def _pulled(self, batch):
        rows = self._features(batch.observation).reshape(-1, self.weights.shape[1])
        actions = batch.action.reshape(len(rows), -1) * (1 + batch.reward.reshape(-1, 1))
        return self.weights + 0.05 * (actions.T @ rows / len(rows) - self.weights)

    def update(self, batch, stage="online"):
        if stage == "clone":
            return self.replace(weights=self._pulled(batch)), {"weights/sum": np.float32(0)}
        iterations = np.asarray(self.iterations + 1, np.int32)
        agent = self.replace(weights=self._pulled(batch), iterations=iterations)
        return agent, {"weights/sum": np.float32(agent.weights.sum())}


class TellingAgent(FakeAgent):
    """Says with every action what SiLRI says; chosen by its full name."""

    Config = FakeConfig

    @classmethod
    def diagnostic_names(cls, config, spec, augment=PLAIN):
        names = [f"human_{kind}.{i}" for kind in ("mean", "std") for i in spec.action.continuous]
        return sorted([*names, "lambda", "bound", "distance", "q_policy", "q_human"])

    def act(self, observation, *, episode, step, explore):
        action, _ = super().act(observation, episode=episode, step=step, explore=explore)
        told = {
            **{f"human_mean.{i}": 0.1 * i for i in self.action_spec.continuous},
            **{f"human_std.{i}": 0.2 + 0.1 * i for i in self.action_spec.continuous},
            "lambda": 0.5 + 0.1 * step,
            "bound": 0.3,
            "distance": 0.2 + 0.01 * step,
            "q_policy": 2.0 - 0.1 * step,
            "q_human": 1.5,
        }
        return action, told


PRESETS = {"default": Preset(FakeConfig(batch_size=8), "for tests")}


@contextmanager
def registered():
    """``load_agent("fake")`` works inside."""
    AGENTS._entries["fake"] = Entry(
        "fake",
        "tests.fakes.models.agent:FakeAgent",
        "for tests",
        presets="tests.fakes.models.agent:PRESETS",
    )
    try:
        yield
    finally:
        del AGENTS._entries["fake"]
