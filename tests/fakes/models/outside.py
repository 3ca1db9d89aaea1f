"""The source of an agent that somebody wrote outside this repository, in one file."""

AGENT = '''
"""A linear policy that moves towards the actions in its batches."""
from typing import ClassVar
import numpy as np
from silri.agents.augment import Augmentation
from silri.agents.base import Agent, AgentConfig
from silri.agents.stages import ONLINE, Stage
from silri.core.seeding import Stream, rng
from silri.core.settings import Positive, settings
from silri.nn.normalizer import Normalizer


@settings("agent")
class LinearConfig(AgentConfig):
    """Settings of a linear policy."""

    known_stages: ClassVar[tuple[str, ...]] = ("clone", "online")
    stages: tuple[Stage, ...] = (Stage("clone", "guidance", 100), ONLINE)
    batch_size: int = 8  # rows of one update
    rate: Positive = 0.05  # of its updates


class Linear(Agent):
    """One matrix."""

    Config = LinearConfig
    weights: np.ndarray

    @classmethod
    def create(cls, config, spec, seed, augment):
        shapes = {key: array.shape for key, array in spec.observation.items()}
        one = {key: np.ones(shape, np.float32) for key, shape in shapes.items()}
        return cls(
            config=config,
            action_spec=spec.action,
            augmentation=Augmentation.create(augment, spec),
            normalizer=Normalizer(mean={k: 0 * v for k, v in one.items()}, std=one),
            seed=np.asarray(seed, np.uint32),
            iterations=np.asarray(0, np.int32),
            weights=np.zeros((spec.action.size, sum(v.size for v in one.values())), np.float32),
        )

    @classmethod
    def diagnostic_names(cls, config, spec, augment):
        return ["size"]

    def features(self, observation):
        return np.concatenate([observation[key] for key in sorted(observation)], axis=-1)

    def act_deterministic(self, observation):
        return np.tanh(self.features(observation) @ np.asarray(self.weights).T)

    def act(self, observation, *, episode, step, explore):
        draw = rng(int(self.seed), Stream.ACTION_NOISE, episode, step)
        noise = draw.normal(0, 0.3, self.action_spec.size)
        action = np.clip(self.act_deterministic(observation) + explore * noise, -1, 1)
        return action.astype(np.float32), {"size": float(np.abs(self.weights).sum())}

    def update(self, batch, stage="online"):
        rows = self.features(batch.observation).reshape(-1, self.weights.shape[1])
        error = batch.action.reshape(len(rows), -1) - np.tanh(rows @ np.asarray(self.weights).T)
        weights = np.asarray(self.weights + self.config.rate * error.T @ rows / len(rows))
        iterations = np.asarray(self.iterations + 1, np.int32)
        size = {"weights/size": np.float32(np.abs(weights).sum())}
        return self.replace(weights=weights.astype(np.float32), iterations=iterations), size
'''
