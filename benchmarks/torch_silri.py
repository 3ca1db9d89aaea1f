"""SiLRI's default learner iteration in eager PyTorch: the same networks, losses and order.

Only what ``benchmarks/learner.py`` times; ``tests/benchmarks/test_torch_silri.py`` checks that one
iteration from the same weights gives the same networks. Written as a PyTorch user would: one module
per network, fused multi-tensor Adam and Polyak updates (``foreach``), no ``torch.compile``.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import nn
from torch.nn import functional

DISCOUNT, TAU, TARGET_NOISE, CLIP = 0.97, 0.005, 0.2, 40.0
LEARNING_RATE, EXPERT_DECAY, EXPERT_RATE, AVERAGE_RATE, AVERAGE_TAIL = 3e-4, 1.0, 0.005, 0.002, 2.0
KAPPA, LEAST_DEVIATION = 0.1, 0.1  # nats per dimension; floor of the person's deviation
FAILED_WEIGHT = 0.1  # of a person's step in an episode that failed; the robot's own of a success: 1
CORNER = 0.01  # weight of what keeps an actor that nobody guides off the corners
LOG_VARIANCE = math.log(1e-4), math.log(2.0)  # soft bounds of the expert's output


def mlp(size: int, out: int, *, final: bool = True) -> nn.Sequential:
    """Linear -> LayerNorm -> SiLU twice, then a linear output layer."""
    layers: list[nn.Module] = []
    for index, width in enumerate((size, 256)):
        layers += [nn.Linear(width, 256), nn.LayerNorm(256, eps=1e-6)]
        if final or index == 0:
            layers.append(nn.SiLU())
    return nn.Sequential(*layers, nn.Linear(256, out))


def soft_clip(x: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Near the identity inside (low, high), bounded by them."""
    width = high - low
    x = high - functional.softplus(high - x)
    return low + width / math.log1p(math.exp(width)) * functional.softplus(x - low)


def frozen(module: nn.Module) -> nn.Module:
    """A copy that follows the module without a gradient."""
    return copy.deepcopy(module).requires_grad_(False)


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Over the rows where ``mask`` is 1; 0 if there is none."""
    return (values * mask).sum() / mask.sum().clamp(min=1.0)


class TorchSiLRI:
    """Networks, optimisers and one iteration."""

    def __init__(self, features: int, actions: int, classes: int = 2) -> None:
        torch.manual_seed(0)
        self.iterations = 0
        self.critics = nn.ModuleList([mlp(features + actions, 1) for _ in range(2)])
        self.actor = mlp(features, actions)
        self.expert = mlp(features, 2 * actions)
        self.gripper = mlp(features, classes)
        self.multiplier = mlp(features, 1, final=False)
        self.target_critics, self.target_actor = frozen(self.critics), frozen(self.actor)
        self.average_actor, self.average_expert = frozen(self.actor), frozen(self.expert)
        self.average_gripper = frozen(self.gripper)
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            name: torch.optim.Adam(getattr(self, name).parameters(), LEARNING_RATE, foreach=True)
            for name in ("critics", "actor", "gripper", "multiplier")
        }
        self.optimizers["expert"] = torch.optim.AdamW(
            self.expert.parameters(), LEARNING_RATE, weight_decay=EXPERT_DECAY, foreach=True
        )

    def q(self, critics: nn.ModuleList, s: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
        """(2, B)."""
        x = torch.cat([s, a], -1)
        return torch.stack([critic(x)[:, 0] for critic in critics])

    def human(self, expert: nn.Module, s: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and deviation of the person's action."""
        mean, log_variance = expert(s).chunk(2, -1)
        return torch.tanh(mean), soft_clip(log_variance, *LOG_VARIANCE).exp().sqrt()

    def step(self, name: str, loss: torch.Tensor) -> None:
        """Clipped Adam on one network."""
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        parameters = list(getattr(self, name).parameters())
        for parameter, gradient in zip(
            parameters, torch.autograd.grad(loss, parameters), strict=True
        ):
            parameter.grad = gradient
        nn.utils.clip_grad_norm_(parameters, CLIP, foreach=True)
        optimizer.step()

    @torch.no_grad()
    def follow(self, target: nn.Module, online: nn.Module, rate: float) -> None:
        """Polyak."""
        torch._foreach_lerp_(list(target.parameters()), list(online.parameters()), rate)

    def update(self, batch: dict[str, torch.Tensor]) -> None:
        """One iteration on (U, B, ...) tensors."""
        for index in range(batch["s"].shape[0]):
            self.update_critics({name: column[index] for name, column in batch.items()})
        last = {name: column[-1] for name, column in batch.items()}
        self.update_expert(last)
        mean, std = self.update_actor(last)
        self.update_multiplier(last, mean, std)
        self.iterations += 1

    def update_critics(self, batch: dict[str, torch.Tensor]) -> None:
        """One critic step, then both targets move."""
        with torch.no_grad():
            mean = torch.tanh(self.target_actor(batch["s2"]))
            noise = (TARGET_NOISE * torch.randn_like(mean)).clamp(-0.5, 0.5)
            q2 = self.q(self.target_critics, batch["s2"], (mean + noise).clamp(-1, 1))
            target = batch["r"] + DISCOUNT * batch["mask"] * q2.min(0).values
        error = self.q(self.critics, batch["s"], batch["a"]) - target[None]
        self.step("critics", (error**2).mean(-1).sum())
        self.follow(self.target_critics, self.critics, TAU)
        self.follow(self.target_actor, self.actor, TAU)

    def update_expert(self, batch: dict[str, torch.Tensor]) -> None:
        """Negative log-likelihood of what people did, and of the robot's own that worked."""
        human, success = batch["human"], batch["success"]
        if human.any():
            mean, std = self.human(self.expert, batch["s"])
            done = torch.where(human[:, None] > 0, batch["h"], batch["a"])
            nll = (0.5 * ((done - mean) / std) ** 2 + std.log()).sum(-1)
            weights = human * (success + (1 - success) * FAILED_WEIGHT) + (1 - human) * success
            self.step("expert", masked_mean(nll, weights))
        self.follow(self.average_expert, self.expert, EXPERT_RATE)

    def update_actor(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """The actor and the gripper; returns the person's mean and deviation."""
        s, flags = batch["s"], batch["human"]
        with torch.no_grad():
            mean, std = self.human(self.average_expert, s)
            weight = functional.softplus(self.multiplier(s)[:, 0]) * flags.any()
        action = torch.tanh(self.actor(s))
        q = self.q(self.critics, s, action).min(0).values
        loss = ((-q + weight * self.distance(action, mean, std)) / (1 + weight)).mean()
        shown = bool(flags.any())
        if not shown:  # away from the corners of the box
            corner = -torch.log1p(1e-6 - action**2).sum(-1).mean()
            loss = loss + CORNER * q.abs().mean().detach() * corner
        self.step("actor", loss)
        if shown:
            loss = functional.cross_entropy(self.gripper(s), batch["g"], reduction="none")
            self.step("gripper", masked_mean(loss, flags))
        done = self.iterations + 1
        rate = max(min(AVERAGE_RATE, AVERAGE_TAIL / done), 0.0 if shown else 1 / done)
        self.follow(self.average_actor, self.actor, rate)
        self.follow(self.average_gripper, self.gripper, rate)
        return mean, std

    def update_multiplier(
        self, batch: dict[str, torch.Tensor], mean: torch.Tensor, std: torch.Tensor
    ) -> None:
        """Rises where the actor is further from the person than it may be."""
        if not batch["human"].any():
            return
        with torch.no_grad():
            action = torch.tanh(self.actor(batch["s"]))
            violation = self.distance(action, mean, std) - KAPPA * action.shape[-1]
        values = functional.softplus(self.multiplier(batch["s"])[:, 0])
        self.step("multiplier", -(values * violation).mean())

    def distance(self, action: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
        """1/2 sum_j (x_j / sigma_j)^2, in nats."""
        return 0.5 * (((action - mean) / std.clamp(min=LEAST_DEVIATION)) ** 2).sum(-1)
