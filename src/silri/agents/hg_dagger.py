r"""HG-DAgger: cloning that goes on while the person intervenes (arXiv 1810.02890).

The policy of :mod:`silri.agents.bc`, pre-trained on demonstrations, then trained at every step on
demonstrations *and* interventions together::

    L = -mean over D_I of log pi(a_human | s) + CE(gripper)

What the robot does by itself is never trained on, and no reward is needed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from silri.agents.bc import BCAgent, BCConfig
from silri.agents.stages import ONLINE, Stage
from silri.core.registry import Preset
from silri.core.settings import PositiveInt, settings
from silri.nn.mlp import Trunk


@settings("agent")
class HGDAggerConfig(BCConfig):
    """BC's fields with an online schedule."""

    known_stages: ClassVar[tuple[str, ...]] = ("clone", "online")

    utd: PositiveInt = 2  # gradient steps per learner iteration, as many as the others' critics
    stages: tuple[Stage, ...] = (Stage("clone", "guidance", 2_000), ONLINE)


class HGDAggerAgent(BCAgent):
    """BC that keeps learning."""


DEFAULT = HGDAggerConfig()
PRESETS = {
    # Half of the others' shift is the best of its trials: docs/explanation/tuning.md.
    "default": Preset(DEFAULT, "the shared harness: silri's trunk", {"augment": {"shift": 0.03}}),
    "published": Preset(
        replace(
            DEFAULT,
            batch_size=256,
            decay=0.0,
            average_rate=1.0,
            trunk=Trunk(hidden=(512, 512, 512), activation="tanh"),
            stages=(Stage("clone", "guidance", 20_000), ONLINE),
            utd=1,
        ),
        "HIL-SERL's baseline: three layers of 512, tanh, 20,000 steps of pre-training",
    ),
}
