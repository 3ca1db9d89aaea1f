"""The point mass that says what is to be done, seen by two cameras; and small frozen models of it.

They are real backbones behind the real protocol, only small: a random projection of pictures,
words and state.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from silri.core.errors import BackboneFault
from silri.core.specs import ArraySpec
from silri.vla.backbone import Backbone, Embedded
from tests.fakes.envs.cameras import SIDE, SeenPoint
from tests.fakes.envs.point import FakeEnvConfig

NAME = "tests.fakes.models.backbones:Asked"
MODEL = "tests.fakes.models.backbones:load"
OTHER_MODEL = "tests.fakes.models.backbones:load_other"
SIZE, ACTION = 40, 4


class AskedPoint(SeenPoint):
    """As :class:`~tests.fakes.envs.cameras.SeenPoint`, with an instruction."""

    def __init__(self, name="one-arm", config=None):
        super().__init__(name, config)
        observation = {**self.env_spec.observation, "instruction": ArraySpec((), "<U24")}
        self.env_spec = replace(self.env_spec, observation=observation)

    def _observation(self):
        return {**super()._observation(), "instruction": np.array("go to the goal", "<U24")}


class Asked:
    """For the command line and :class:`~silri.configs.run.RunConfig`."""

    Config = FakeEnvConfig

    @staticmethod
    def create(config, name):
        return AskedPoint("one-arm", config)


def load(config):
    """Embeddings by random weights."""
    return backbone("fake", 0)


def load_other(config):
    """Others, by other weights."""
    return backbone("other", 1)


def load_drifting(config):
    """The same model by other libraries: its last bits differ."""
    return backbone("fake", 0, scale=1 + 1e-6, runs_on="other torch")


def load_far(config):
    """The same files, read in another way."""
    return backbone("fake", 0, scale=1.5)


def load_wrong(config):
    """One that gives another size than it says."""
    good = backbone("wrong", 2)
    return replace(good, embed=lambda inputs: Embedded(np.ones(SIZE + 1, np.float32)))


class SWITCH:
    """What a test turns on for the two models below."""

    on = False


def load_broken(config):
    """One that gives NaN once it is switched on."""
    good = backbone("fake", 0)

    def embed(inputs):
        answer = good.embed(inputs)
        return replace(answer, embedding=answer.embedding * np.nan) if SWITCH.on else answer

    return replace(good, name="broken", embed=embed)


def load_silent(config):
    """One whose server is gone once it is switched on."""
    good = backbone("fake", 0)

    def embed(inputs):
        if SWITCH.on:
            raise BackboneFault("the feature server at 127.0.0.1:1 has not answered within 1 s")
        return good.embed(inputs)

    return replace(good, embed=embed)


def load_nothing(config):
    """No backbone at all."""
    return "nothing"


def backbone(name, seed, scale=1.0, runs_on="numpy"):
    weights = np.random.default_rng(seed).normal(0, 1, (2 * SIDE * SIDE * 3, SIZE)) / SIDE
    weights = weights.astype(np.float32)

    def embed(inputs):
        pixels = np.concatenate([frame.ravel() for _, frame in sorted(inputs.frames.items())])
        seed = int.from_bytes(hashlib.sha256(inputs.instruction.encode()).digest()[:4], "big")
        words = np.random.default_rng(seed).standard_normal(SIZE)
        seen = np.sin(pixels.astype(np.float32) / 255 @ weights) + words
        seen[:4] += inputs.state
        return Embedded(np.float32(scale) * seen.astype(np.float32), seen[:ACTION].astype("f4"))

    return Backbone(name, f"{seed:016x}", SIZE, ACTION, ("front", "side"), 4, embed, runs_on)
