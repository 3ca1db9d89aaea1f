"""SiLRI's settings by name: silri's own, those that were published, and its ablations."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from silri.agents.silri import SiLRIConfig
from silri.agents.stages import ONLINE, Stage
from silri.core.registry import Preset

DEFAULT = SiLRIConfig()
RELEASED = replace(
    DEFAULT,
    batch_size=256,
    n_step=1,
    reward_unit=0.0,
    average_rate=1.0,
    stages=(Stage("clone", "guidance", 500), ONLINE),
    expert_decay=0.0,
    expert_rate=1.0,
    failed_weight=1.0,
    own_weight=0.0,
    explore_least=DEFAULT.explore_std,
    constraint="released",
    kappa=1.0,
    initial_multiplier=math.log(2.0),
    multiplier_lr=3e-6,
)
KNOWLEDGE = {"augment": {"goal_shift": 0.1, "relative": 0.05}}


def _ablation(summary: str, **fields: Any) -> Preset:
    return Preset(replace(DEFAULT, **fields), f"ablation: {summary}", KNOWLEDGE)


PRESETS = {
    "default": Preset(DEFAULT, "silri's own setting", KNOWLEDGE),
    "released": Preset(RELEASED, "the published code: l2, bound = summed variance + 0.2"),
    "paper": Preset(
        replace(RELEASED, constraint="paper", kappa=6.0),
        "the paper's text: squared l2, bound = 6 mean deviation + 0.1",
    ),
    "const": _ablation("lambda = 0.5", multiplier="const", initial_multiplier=0.5),
    "people_only": _ablation(
        "people alone are imitated, whatever came of it", failed_weight=1.0, own_weight=0.0
    ),
    "no_rl": _ablation("imitation only", multiplier="infinite"),
    "no_bc": _ablation("reinforcement only", multiplier="zero"),
}
