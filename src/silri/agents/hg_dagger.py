r"""HG-DAgger: cloning that goes on while the person intervenes (arXiv 1810.02890).

The policy of :mod:`silri.agents.bc`, pre-trained on demonstrations, then trained at every step on
demonstrations *and* interventions together::

    L = -mean over D_I of log pi(a_human | s) + CE(gripper)

What the robot does by itself is never trained on, and no reward is needed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from silri.agents.base import Preset
from silri.agents.bc import BCAgent, BCConfig
from silri.nn.mlp import Trunk


@dataclass(frozen=True)
class HGDAggerConfig(BCConfig):
    """BC's fields with an online schedule."""

    counts_steps: ClassVar[bool] = True

    pretrain_steps: int = 2_000  # on demonstrations; the published 20,000 is in the preset
    utd: int = 2  # gradient steps per learner iteration, as many as the others' critics take
    shift: float = 0.03  # half of the others': the best of its trials, docs/tuning.md


class HGDAggerAgent(BCAgent):
    """BC that keeps learning."""

    learns_online = True


DEFAULT = HGDAggerConfig()
PRESETS = {
    "default": Preset(DEFAULT, "the shared harness: silri's trunk"),
    "published": Preset(
        replace(
            DEFAULT,
            batch_size=256,
            decay=0.0,
            average_rate=1.0,
            shift=BCConfig.shift,
            trunk=Trunk(hidden=(512, 512, 512), activation="tanh"),
            pretrain_steps=20_000,
            utd=1,
        ),
        "HIL-SERL's baseline: three layers of 512, tanh, 20,000 steps of pre-training",
    ),
}
