"""SiLRI's learner iteration in eager PyTorch: the same networks, losses and update order.

Only what ``benchmarks/learner.py`` times. Written as a PyTorch user would: one module per network,
fused multi-tensor Adam and Polyak updates (``foreach``), no ``torch.compile``.
"""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional

DISCOUNT, TAU, SLACK, TARGET_NOISE, CLIP = 0.97, 0.005, 0.2, 0.2, 40.0


def mlp(size: int, out: int, *, final: bool = True) -> nn.Sequential:
    """Linear -> LayerNorm -> SiLU twice, then a linear output layer."""
    layers: list[nn.Module] = []
    for index, width in enumerate((size, 256)):
        layers += [nn.Linear(width, 256), nn.LayerNorm(256)]
        if final or index == 0:
            layers.append(nn.SiLU())
    return nn.Sequential(*layers, nn.Linear(256, out))


class TorchSiLRI:
    """Networks, optimisers and one iteration."""

    def __init__(self, features: int, actions: int, classes: int = 2) -> None:
        torch.manual_seed(0)
        self.critics = nn.ModuleList([mlp(features + actions, 1) for _ in range(2)])
        self.actor = mlp(features, actions)
        self.expert = mlp(features, 2 * actions)
        self.gripper = mlp(features, classes)
        self.multiplier = mlp(features, 1, final=False)
        self.target_critics, self.target_actor = (
            copy.deepcopy(m).requires_grad_(False) for m in (self.critics, self.actor)
        )
        rates = {
            "critics": 3e-4,
            "actor": 3e-4,
            "expert": 3e-4,
            "gripper": 3e-4,
            "multiplier": 3e-6,
        }
        self.optimizers = {
            name: torch.optim.Adam(getattr(self, name).parameters(), lr, foreach=True)
            for name, lr in rates.items()
        }

    def q(self, critics: nn.ModuleList, s: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
        """(2, B)."""
        x = torch.cat([s, a], -1)
        return torch.stack([critic(x)[:, 0] for critic in critics])

    def human(self, s: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and variance."""
        mean, log_scale = self.expert(s).chunk(2, -1)
        return torch.tanh(mean), log_scale.clamp(-9.0, 0.7).exp()

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
    def polyak(self) -> None:
        """Both targets."""
        for online, target in (
            (self.critics, self.target_critics),
            (self.actor, self.target_actor),
        ):
            torch._foreach_lerp_(list(target.parameters()), list(online.parameters()), TAU)

    def update(self, batch: dict[str, torch.Tensor]) -> None:
        """One iteration on (U, B, ...) tensors."""
        for index in range(batch["s"].shape[0]):
            s, a, r, mask, following = (batch[k][index] for k in ("s", "a", "r", "mask", "s2"))
            with torch.no_grad():
                mean = torch.tanh(self.target_actor(following))
                noise = (TARGET_NOISE * torch.randn_like(mean)).clamp(-0.5, 0.5)
                q2 = self.q(self.target_critics, following, (mean + noise).clamp(-1, 1))
                target = r + DISCOUNT * mask * q2.min(0).values
            error = self.q(self.critics, s, a) - target[None]
            self.step("critics", (error**2).mean(-1).sum())
            self.polyak()
        human_rows = slice(s.shape[0] // 2, None)
        flags = batch["human"][-1]
        mean, variance = self.human(s[human_rows])
        nll = 0.5 * ((a[human_rows] - mean) ** 2 / variance + variance.log()).sum(-1)
        weight = flags[human_rows]
        self.step("expert", (nll * weight).sum() / weight.sum().clamp(min=1.0))
        with torch.no_grad():
            mean, variance = self.human(s)
            multiplier = functional.softplus(self.multiplier(s)[:, 0])
        action = torch.tanh(self.actor(s))
        distance = ((action - mean) ** 2).sum(-1).add(1e-12).sqrt()
        q = self.q(self.critics, s, action).min(0).values
        self.step("actor", ((-q + multiplier * distance) / (1 + multiplier)).mean())
        loss = functional.cross_entropy(self.gripper(s), batch["g"][-1], reduction="none")
        self.step("gripper", (loss * flags).sum() / flags.sum().clamp(min=1.0))
        with torch.no_grad():
            action = torch.tanh(self.actor(s))
            distance = ((action - mean) ** 2).sum(-1).add(1e-12).sqrt()
            violation = distance - variance.sum(-1) - SLACK
        self.step("multiplier", -(functional.softplus(self.multiplier(s)[:, 0]) * violation).mean())
