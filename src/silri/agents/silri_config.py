"""SiLRI's hyper-parameters and their named settings; the algorithm is :mod:`silri.agents.silri`."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from silri.agents.base import AgentConfig, Preset, positive, require
from silri.nn.constraint import Distance, Spread


@dataclass(frozen=True)
class SiLRIConfig(AgentConfig):
    """Defaults are silri's own; ``released`` and ``paper`` are in :data:`PRESETS`."""

    pretrain_steps: int = 500  # expert, actor and critic on demonstrations
    pretrain_critic: bool = True  # False: the critic begins with the first episode, as published
    discount: float = 0.97  # gamma
    tau: float = 0.005  # Polyak rate of the critic's and the actor's target
    n_step: int = 3  # rewards in a return before it bootstraps
    reward_unit: float = 10.0  # the demonstrations' largest return is scaled to it; 0: not scaled
    goal_shift: float = 0.1  # metres; while nothing moves goals are moved on their own; 0: never
    relative: float = 0.05  # metres; positions also as seen from the hand, in this unit; 0: not
    critics: int = 2  # E; the minimum is taken
    distance: Distance = "kl"  # D: see silri.nn.constraint:distance
    least_deviation: float = 0.1  # of a dimension, where D is in the person's deviations
    expert_scale: Literal["variance", "std"] = "variance"  # what the expert's scale output means
    scale_bounds: tuple[float, float] = (1e-4, 2.0)  # of that scale
    bound: Spread = "dims"  # what it grows with; "dims": kappa nats per dimension, for "kl"
    kappa: float = 0.1  # bound(s) = kappa * statistic + slack
    slack: float = 0.0  # c
    multiplier: Literal["state", "groups", "scalar", "const", "zero", "infinite"] = "state"
    initial_multiplier: float = 1.0  # lambda_0 in every state; the value of "const"
    multiplier_lr: float = 3e-4  # the published code has 3e-6
    target_action: Literal["mean", "clipped_noise", "sample"] = "clipped_noise"  # a' of the target
    target_noise: float = 0.2  # deviation of "clipped_noise", cut at +-0.5
    explore_std: float = 0.05**0.5  # deviation of the acting policy
    average_rate: float = 0.002  # Polyak rate of what acts; 1 is the actor that learns
    average_tail: float = 2.0  # t: that rate falls to t / iteration, so the window grows
    average_gripper: bool = True  # the gripper head that acts is averaged, too
    expert_decay: float = 1.0  # weight decay of the expert, times the learning rate per step
    expert_rate: float = 0.005  # Polyak rate of the expert that is imitated; 1 is the online one
    experts: int = 1  # members of the expert; more tell "inconsistent" from "nobody was here"
    novelty_weight: float = 0.0  # what the members' disagreement adds to the bound
    advantage_scale: float = 0.0  # weigh guidance by exp(advantage / (scale x slope)); 0: do not
    q_scale: Literal["none", "slope"] = "slope"  # divide Q by its mean slope along the action
    expert_schedule: Literal["always", "burst"] = "always"  # every iteration, or 50 per 50 new
    burst: int = 50  # intervention steps between bursts, and steps of one
    ask_fraction: float = 0.0  # share of steps that ask for help, where the critics disagree most
    clip_norm: float = 40.0  # global gradient norm per network

    @property
    def needs_slope(self) -> bool:
        """Whether the mean slope of Q along the action is tracked."""
        return self.q_scale == "slope" or self.advantage_scale > 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self,
            {
                "discount": (0 <= self.discount < 1, "a number in [0, 1)"),
                "tau": (0 < self.tau <= 1, "a number in (0, 1]"),
                "critics": (self.critics >= 1, "at least 1"),
                "experts": (self.experts >= 1, "at least 1"),
                "expert_decay": (self.expert_decay >= 0, "0 or more"),
                "expert_rate": (0 < self.expert_rate <= 1, "a number in (0, 1]"),
                "novelty_weight": (self.novelty_weight >= 0, "0 or more"),
                "ask_fraction": (0 <= self.ask_fraction < 1, "a share from 0, below 1"),
                "advantage_scale": (self.advantage_scale >= 0, "0 or more"),
                "scale_bounds": (0 < self.scale_bounds[0] < self.scale_bounds[1], "0 < low < high"),
                "kappa": (self.kappa >= 0, "0 or more"),
                "target_noise": (self.target_noise >= 0, "0 or more"),
                "burst": (self.burst >= 1, "at least 1"),
            }
            | positive(
                self,
                "initial_multiplier",
                "multiplier_lr",
                "explore_std",
                "clip_norm",
                "least_deviation",
            ),
        )


DEFAULT = SiLRIConfig()
# The default of silri's first version: what is on top of it has an ablation row each.
FIRST = replace(
    DEFAULT,
    batch_size=256,
    shift=0.0,
    goal_shift=0.0,
    relative=0.0,
    average_tail=0.0,
    pretrain_critic=False,
    n_step=1,
    reward_unit=0.0,
    distance="l2",
    bound="sum_var",
    kappa=1.0,
    slack=0.2,
    initial_multiplier=2.0,
    multiplier_lr=3e-6,
    expert_decay=0.0,
    expert_rate=1.0,
    average_gripper=False,
    q_scale="none",
)
RELEASED = replace(
    FIRST,
    shift=DEFAULT.shift,  # for the random crops of the images that are published
    scale_bounds=(1e-5, 2.0),
    target_action="sample",
    average_rate=1.0,
    initial_multiplier=math.log(2.0),
    expert_schedule="burst",
)
PAPER = replace(
    RELEASED,
    distance="sq_l2",
    expert_scale="std",
    scale_bounds=(1e-3, 1.0),
    bound="mean_std",
    kappa=6.0,
    slack=0.1,
    target_action="clipped_noise",
)
CONST = replace(DEFAULT, multiplier="const", initial_multiplier=0.5)
PRESETS = {
    "default": Preset(DEFAULT, "silri's own setting"),
    "first": Preset(FIRST, "silri's first setting, before the steadier one"),
    "released": Preset(RELEASED, "the published code: l2, bound = summed variance + 0.2"),
    "paper": Preset(PAPER, "the paper's text: squared l2, bound = 6 mean deviation + 0.1"),
    "const": Preset(CONST, "ablation: lambda = 0.5"),
    "no_rl": Preset(replace(DEFAULT, multiplier="infinite"), "ablation: imitation only"),
    "no_bc": Preset(replace(DEFAULT, multiplier="zero"), "ablation: reinforcement only"),
}
