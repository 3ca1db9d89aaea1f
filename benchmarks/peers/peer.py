"""LeRobot's side: its own learner loop, fed over a pipe. Runs in LeRobot's environment.

``lerobot.rl.learner.add_actor_information_and_train`` itself is what runs: its losses, order,
optimisers, clipping and target updates, whatever they are. Only the replay buffer that it draws
from is replaced, by one that asks silri's process for the next batch. So an "update" is one pass
of that loop, and everything else that silri asks for is answered between two passes.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import IO, Any
from unittest import mock

import lerobot
import lerobot.rl.learner as learner
import numpy as np
import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.sac import modeling_sac
from lerobot.policies.sac.configuration_sac import (
    ActorLearnerConfig,
    ConcurrencyConfig,
    PolicyConfig,
    SACConfig,
)
from lerobot.policies.sac.modeling_sac import SACPolicy
from lerobot.utils.constants import ACTION, OBS_STATE
from torch import nn
from torch.distributions import MultivariateNormal
from wire import Arrays, receive, send

NEVER_S = 1e9  # seconds between two pushes of the weights to LeRobot's own actor, which is not here


class Closed(Exception):
    """silri's process is gone."""


class Feed:
    """In place of LeRobot's ``ReplayBuffer``: the batches come from silri's process."""

    def __init__(self, source: IO[bytes], sink: IO[bytes]) -> None:
        self._source, self._sink = source, sink
        self._pending: list[dict[str, Any]] = []
        self._noise: list[np.ndarray] = []
        self._started: tuple[float, float] | None = None  # of the update that silri waits for
        self._repeat = 1
        self._info: dict[str, float] = {}
        header, arrays = receive(source)
        torch.manual_seed(header["seed"])
        torch.set_num_threads(header["threads"])
        self.device = torch.device(header["device"])
        self.policy = make_policy(header, arrays).to(self.device)
        self._deviation = header["deviation"]
        send(sink, {"lerobot": lerobot.__version__, "torch": torch.__version__})

    # -- what LeRobot's learner calls ------------------------------------------------------------

    def __len__(self) -> int:
        return sys.maxsize

    def get_iterator(self, **_: Any) -> Iterator[dict[str, Any]]:
        """The batches."""
        return self

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        if not self._pending:
            self._answer_update()
            while not self._pending:
                self._serve()
        return self._pending.pop(0)

    def log_dict(self, d: dict[str, float], **_: Any) -> None:
        """In place of its logger."""
        self._info |= {name: float(value) for name, value in d.items()}

    # -- what silri asks for ---------------------------------------------------------------------

    def _serve(self) -> None:
        try:
            header, arrays = receive(self._source)
        except EOFError as error:
            raise Closed from error
        if header["op"] == "update":
            # One for each random draw of a pass, in its order; see `same_noise`.
            self._noise = list(arrays.pop("noise", []))
            self._repeat = header["repeat"]
            self._pending = self._batches(arrays) * self._repeat
            self._started = (time.perf_counter(), time.process_time())
        else:
            with torch.no_grad():
                answers: dict[str, Callable[..., Arrays]] = {
                    "act": self._act,
                    "mean": self._mean,
                    "q": self._q,
                }
                send(self._sink, {}, answers[header["op"]](**self._tensors(arrays)))

    def _answer_update(self) -> None:
        if self._started is not None:
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            ended = (time.perf_counter(), time.process_time())
            wall, cpu = ((b - a) / self._repeat for a, b in zip(self._started, ended, strict=True))
            send(self._sink, {"seconds": wall, "cpu_seconds": cpu, **self._info})
            self._started = None

    def _tensors(self, arrays: Arrays) -> dict[str, torch.Tensor]:
        return {name: torch.from_numpy(a).to(self.device) for name, a in arrays.items()}

    def _batches(self, arrays: Arrays) -> list[dict[str, Any]]:
        """(U, B, ...) arrays as U batches in the form of LeRobot's buffer."""
        t = self._tensors(arrays)
        return [
            {
                "state": {OBS_STATE: t["features"][i]},
                "next_state": {OBS_STATE: t["next_features"][i]},
                ACTION: t["action"][i],
                "reward": t["reward"][i],
                "done": 1.0 - t["mask"][i],
                "truncated": torch.zeros_like(t["mask"][i]),
                "complementary_info": {"discrete_penalty": t["grasp_penalty"][i]},
            }
            for i in range(len(t["reward"]))
        ]

    def _act(self, features: torch.Tensor) -> Arrays:
        """As LeRobot's actor process explores."""
        return {"action": self.policy.select_action({OBS_STATE: features}).cpu().numpy()}

    def _mean(self, features: torch.Tensor) -> Arrays:
        """The mean action; LeRobot's ``select_action`` only samples."""
        _, _, mean = self.policy.actor({OBS_STATE: features})
        command = self.policy.discrete_critic({OBS_STATE: features}).argmax(-1, keepdim=True)
        return {"action": torch.cat([torch.tanh(mean), command], -1).cpu().numpy()}

    def _q(self, features: torch.Tensor, action: torch.Tensor) -> Arrays:
        """Both critics' values, of continuous actions and of gripper commands."""
        observation = {OBS_STATE: features}
        return {
            "q": self.policy.critic_forward(observation, action).cpu().numpy(),
            "grasp": self.policy.discrete_critic(observation).cpu().numpy(),
        }

    @contextlib.contextmanager
    def same_scale(self) -> Iterator[None]:
        """If silri asks for it: the actor's scale is a deviation.

        LeRobot hands it to ``MultivariateNormal`` as a covariance, so its actor's deviation is the
        square root of what its code calls ``std``.
        """
        if not self._deviation:
            yield
            return

        def normal(loc: torch.Tensor, scale: torch.Tensor) -> MultivariateNormal:
            return MultivariateNormal(loc, scale_tril=scale)

        with mock.patch.object(modeling_sac, "MultivariateNormal", normal):
            yield

    @contextlib.contextmanager
    def same_noise(self) -> Iterator[None]:
        """Gaussian draws of the policy come from silri while it sends them."""
        original = torch.distributions.multivariate_normal._standard_normal

        def draw(shape: torch.Size, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
            if not self._noise:
                return original(shape, dtype=dtype, device=device)
            noise = torch.from_numpy(np.array(self._noise.pop(0))).to(device, dtype)
            assert noise.shape == shape
            return noise

        with mock.patch.object(torch.distributions.multivariate_normal, "_standard_normal", draw):
            yield


def make_policy(header: dict[str, Any], weights: Arrays) -> SACPolicy:
    """LeRobot's policy for a vector of features.

    Args:
        header: ``sac``, fields of ``SACConfig``; ``features`` and ``actions``, sizes; ``encoder``,
            False to feed the features straight into the trunks, as silri does, where LeRobot has a
            layer that all networks share; ``norm_eps`` of every LayerNorm.
        weights: initial values by LeRobot's names; empty leaves LeRobot's own.
    """
    fields = dict(header["sac"])
    policy_kwargs = PolicyConfig(**fields.pop("policy_kwargs", {}))
    if not header["encoder"]:
        fields["latent_dim"] = header["features"]
    config = SACConfig(
        input_features={OBS_STATE: PolicyFeature(FeatureType.STATE, (header["features"],))},
        output_features={ACTION: PolicyFeature(FeatureType.ACTION, (header["actions"],))},
        device=header["device"],
        storage_device=header["device"],
        policy_kwargs=policy_kwargs,
        # One thread of Python, and nobody to push weights to.
        concurrency=ConcurrencyConfig(actor="threads", learner="threads"),
        actor_learner_config=ActorLearnerConfig(policy_parameters_push_frequency=NEVER_S),
        **fields,
    )
    policy = SACPolicy(config)
    if not header["encoder"]:
        for encoder in (policy.encoder_critic, policy.encoder_actor):
            encoder.state_encoder = nn.Identity()
    if header["norm_eps"] is not None:
        for module in policy.modules():
            if isinstance(module, nn.LayerNorm):
                module.eps = header["norm_eps"]
    if weights:
        state = {name: torch.from_numpy(value) for name, value in weights.items()}
        keys = policy.load_state_dict(state, strict=False)
        missing = [key for key in keys.missing_keys if "target" not in key]
        if keys.unexpected_keys or missing != ["log_alpha"]:
            raise SystemExit(f"weights: unknown {keys.unexpected_keys}, missing {missing}")
        policy.critic_target.load_state_dict(policy.critic_ensemble.state_dict())
        policy.discrete_critic_target.load_state_dict(policy.discrete_critic.state_dict())
    return policy


def main() -> None:
    """Serve until the other side has enough."""
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not end up among the messages
    # As its `train` sets them, which calls what runs below; without effect on a CPU.
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = True
    feed = Feed(sys.stdin.buffer, sink)
    config = SimpleNamespace(
        policy=feed.policy.config,
        env=SimpleNamespace(fps=10, task="fed by silri"),
        dataset=None,  # batches come mixed: what the two buffers would do is silri's part here
        batch_size=0,
        log_freq=1,
        save_freq=0,
        save_checkpoint=False,
        resume=False,
        output_dir="",
    )
    with (
        mock.patch.object(learner, "make_policy", return_value=feed.policy),
        mock.patch.object(learner, "initialize_replay_buffer", return_value=feed),
        feed.same_noise(),
        feed.same_scale(),
        contextlib.suppress(Closed),
    ):
        learner.add_actor_information_and_train(
            cfg=config,
            wandb_logger=feed,
            shutdown_event=threading.Event(),
            transition_queue=queue.Queue(),
            interaction_message_queue=queue.Queue(),
            parameters_queue=queue.Queue(),
        )


if __name__ == "__main__":
    main()
