"""The protocol of frozen feature providers: cameras, instruction and proprioception to a vector.

To add one is one function of the settings that gives a :class:`Backbone`: ``--vla.model
module:function``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from silri.core.errors import ConfigError
from silri.core.registry import Entry, Registry, load_attribute
from silri.vla.config import VlaConfig


@dataclass(frozen=True)
class Inputs:
    """What a backbone is asked about: one observation, without a leading axis.

    Attributes:
        frames: (H, W, 3) uint8 by the model's name of the camera, in the order of the settings.
        instruction: what is to be done.
        state: (S,) float32; None for a model that takes none.
    """

    frames: Mapping[str, np.ndarray]
    instruction: str
    state: np.ndarray | None


@dataclass(frozen=True)
class Embedded:
    """What it answers.

    Attributes:
        embedding: (F,) float32.
        action: (A,) float32, the action that it would take, in the units of what it was trained
            on; None unless it was asked for one.
    """

    embedding: np.ndarray
    action: np.ndarray | None = None


@dataclass(frozen=True)
class Backbone:
    """A frozen model behind one function.

    Attributes:
        name: for messages: kind, weights and revision.
        digest: hexadecimal digits over everything that decides its numbers. Two backbones of one
            digest give the same, up to the last bits of another machine.
        size: F, numbers of an embedding.
        action_size: A of the prior action; None if it gives none.
        cameras: the names of the pictures that it takes; None: any.
        state_size: S of the proprioception; None if it takes none.
        embed: one observation to its embedding; deterministic. It raises BackboneFault when it
            cannot.
        runs_on: versions and device, which decide the last bits of its numbers.
    """

    name: str
    digest: str
    size: int
    action_size: int | None
    cameras: tuple[str, ...] | None
    state_size: int | None
    embed: Callable[[Inputs], Embedded]
    runs_on: str = ""


# The attribute is a function of a VlaConfig that gives a Backbone.
BACKBONES = Registry(
    "vision-language model",
    (
        Entry(
            "transformers",
            "silri.vla.transformers_model:load",
            "a vision-language model of Hugging Face, such as SmolVLM; needs silri[vla]",
        ),
        Entry(
            "lerobot",
            "silri.vla.lerobot_model:load",
            "SmolVLA, pi0 or pi0.5, in a server that an environment with lerobot runs",
        ),
    ),
    group="silri.vlas",
)


def load_backbone(config: VlaConfig) -> Backbone:
    """The frozen model that the settings name.

    Raises:
        UnknownNameError: no such model; lists the right names.
        ConfigError: it cannot be loaded as the settings say, or is no Backbone.
        MissingExtraError: a package that it needs is not installed.
        DataError: a file is missing or damaged.
        BackboneFault: its server does not start.
    """
    name = config.model or ""
    loaded = load_attribute(BACKBONES.get(name).target, f"vision-language model '{name}'")(config)
    if not isinstance(loaded, Backbone):
        raise ConfigError(f"vision-language model '{name}' takes a function that gives a Backbone")
    return loaded
