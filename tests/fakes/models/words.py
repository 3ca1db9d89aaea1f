"""The point mass with its goal said in words, and frozen language models of a moment."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from silri.core.specs import ArraySpec
from silri.language.model import LanguageModel
from tests.fakes.envs.point import FakeEnvConfig, PointMass

NAME = "tests.fakes.models.words:Words"
MODEL = "tests.fakes.models.words:load"
OTHER_MODEL = "tests.fakes.models.words:load_other"
SIZE = 6  # numbers of a sentence
SAID = {
    "left": ("go left", "to the left, please"),
    "right": ("go right", "to the right, please"),
}


class ToldPoint(PointMass):
    """The goal is left (x = -0.8) or right (0.8) of the middle; only the words tell which."""

    def __init__(self, name="one-arm", config=None):
        super().__init__(name, config)
        observation = {
            "state": self.env_spec.observation["state"],
            "instruction": ArraySpec((), "<U24"),
        }
        self.env_spec = replace(self.env_spec, observation=observation)
        self.words = "nothing"

    def reset(self, *, seed=None, options=None):
        rng = np.random.default_rng(seed)
        task = ("left", "right")[rng.integers(2)]
        self.words = SAID[task][rng.integers(2)]
        super().reset(seed=seed)
        self._goal = np.array([[-0.8 if task == "left" else 0.8, 0.0, 0.0]])
        return self._observation(), {"success": False, "task": task}

    def _observation(self):
        return {"state": super()._observation()["state"], "instruction": np.array(self.words)}


class Words:
    """For the command line and :class:`~silri.configs.run.RunConfig`."""

    Config = FakeEnvConfig

    @staticmethod
    def create(config, name):
        return ToldPoint("one-arm", config)


def load(weights=None):
    """Numbers from a hash of the sentence, as a language model."""
    return LanguageModel("fake", f"{0:016x}", SIZE, lambda text: _vector("fake", text))


def load_other(weights=None):
    """Other numbers."""
    return LanguageModel("other", f"{1:016x}", SIZE, lambda text: _vector("other", text))


def load_wrong(weights=None):
    """A model that gives another size than it says."""
    return LanguageModel("wrong", f"{2:016x}", SIZE, lambda text: np.ones(SIZE + 1, np.float32))


def load_nothing(weights=None):
    """No language model at all."""
    return "nothing"


def _vector(name, text):
    seed = int.from_bytes(hashlib.sha256(f"{name}:{text}".encode()).digest()[:8], "big")
    vector = np.random.default_rng(seed).standard_normal(SIZE).astype(np.float32)
    return vector / np.linalg.norm(vector)
