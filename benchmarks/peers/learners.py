"""One interface to both learners, and what makes them equal.

``EQUAL`` is one table of settings for both sides. With it the two compute the same losses on the
same networks from the same initial weights; ``compare.py parity`` measures how far that is true.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from installed import Peer

from silri.agents.augment import Augment
from silri.agents.hil_serl import HILSERLAgent, HILSERLConfig
from silri.core.specs import EnvSpec, Observation
from silri.core.transition import Batch
from silri.nn.actions import continuous_part, gripper_classes, join
from silri.nn.normalizer import Normalizer, Statistics
from silri.nn.train_state import adam

CLIP = 40.0  # LeRobot clips each network's gradient to this norm; silri's HIL-SERL does not
NORM_EPS = 1e-6  # of LayerNorm: flax's; torch's is 1e-5
STD_BOUNDS = (1e-5, 5.0)
# silri's HIL-SERL without what LeRobot's has not: random shifts, returns of several steps, an
# averaged actor, rewards in a unit.
PLAIN = HILSERLConfig(batch_size=256, n_step=1, reward_unit=0.0, average_rate=1.0, actor_q="mean")
STILL = Augment(shift=0.0, crop=0)
# LeRobot's actor has only the minimum.
EQUAL = replace(PLAIN, actor_q="min", std_bounds=STD_BOUNDS)

Info = dict[str, float]


@dataclass(frozen=True)
class Setting:
    """How a learner is set up.

    Attributes:
        equal: for silri, LeRobot's clipping and the minimum in the actor's loss; for LeRobot,
            no encoder layer, silri's initial weights and LayerNorm's epsilon.
        std_bounds: of the actor.
        deviation: LeRobot's actor uses its scale as a deviation, not as a variance.
        compiled: LeRobot's ``use_torch_compile``.
        device, threads: of LeRobot's process.
    """

    equal: bool = True
    std_bounds: tuple[float, float] = STD_BOUNDS
    deviation: bool = False
    compiled: bool = False
    device: str = "cpu"
    threads: int = 1


class Learner(Protocol):
    """What the comparison needs of either."""

    def start(self, batch: Batch, noise: np.ndarray | None = None) -> None:
        """Begin one iteration on a batch with leading axes (U, B)."""

    def finish(self) -> Info:
        """Wait for it: losses and temperature."""

    def act(self, observation: Observation, episode: int, step: int) -> np.ndarray:
        """An exploring action (A,)."""

    def mean(self, observation: Observation) -> np.ndarray:
        """The mean action (A,), or (B, A)."""

    def q(self, batch: Batch) -> np.ndarray:
        """(E, B) of the batch's own actions."""


class Silri:
    """silri's HIL-SERL."""

    def __init__(
        self, spec: EnvSpec, statistics: Statistics | None, seed: int, setting: Setting
    ) -> None:
        config = replace(EQUAL, std_bounds=setting.std_bounds) if setting.equal else PLAIN
        agent = HILSERLAgent.create(config, spec, seed, STILL)
        if statistics is not None:
            agent = agent.normalised_by(statistics)
        self.agent = with_clipping(agent) if setting.equal else agent
        self._info: Any = None

    def start(self, batch: Batch, noise: np.ndarray | None = None) -> None:
        """Dispatch; its draws are its own, so ``noise`` has nothing to do here."""
        del noise
        self.agent, self._info = self.agent.update(batch)

    def finish(self) -> Info:
        """In LeRobot's sense of a critic loss: summed over the ensemble."""
        info = {name: float(value) for name, value in jax.device_get(self._info).items()}
        return {
            "critic_loss": info["critic/loss"] * self.agent.config.critics,
            "grasp_loss": info["grasp/loss"],
            "actor_loss": info["actor/loss"],
            "temperature": info["temperature/value"],
        }

    def act(self, observation: Observation, episode: int, step: int) -> np.ndarray:
        """As in training."""
        return self.agent.act(observation, episode=episode, step=step, explore=True)[0]

    def mean(self, observation: Observation) -> np.ndarray:
        """As in evaluation."""
        return self.agent.act_deterministic(observation)

    def q(self, batch: Batch) -> np.ndarray:
        """Of the online critics."""
        observation = self.agent.normalizer.prepare(batch.observation)
        actions = continuous_part(self.agent.action_spec, jnp.asarray(batch.action))
        return np.asarray(self.agent.critic(observation, actions))

    def noise(self, batch_size: int) -> np.ndarray:
        """(U + 2, B, D): the draws of its next iteration, in the order of LeRobot's.

        LeRobot draws once more for the temperature; it gets the actor's draw again, because
        silri's temperature uses the actor's entropy.
        """
        spec, updates = self.agent.action_spec, self.agent.config.utd
        keys = jax.random.split(self.agent.update_key(), updates + 1)
        shape = (batch_size, len(spec.continuous))
        order = [*range(1, updates + 1), 0, 0]
        return np.stack([jax.random.normal(keys[index], shape, jnp.float32) for index in order])


class LeRobot:
    """LeRobot's, in its own process."""

    def __init__(
        self,
        python: Path,
        spec: EnvSpec,
        statistics: Statistics | None,
        seed: int,
        setting: Setting,
    ) -> None:
        self._spec = spec
        normalizer = Normalizer.create(spec)
        if statistics is not None:
            normalizer = normalizer.fitted(statistics)
        self._features = jax.jit(lambda seen: normalizer.prepare(seen)["vector"])
        twin = HILSERLAgent.create(EQUAL, spec, seed, STILL)
        low, high = setting.std_bounds
        self.peer = Peer(
            python,
            {
                "seed": seed % 2**31,
                "threads": setting.threads,
                "device": setting.device,
                "features": sum(int(np.prod(a.shape)) for a in spec.observation.values()),
                "actions": len(spec.action.continuous),
                "encoder": not setting.equal,
                "deviation": setting.deviation,
                "norm_eps": NORM_EPS if setting.equal else None,
                "sac": {
                    "discount": EQUAL.discount,
                    "critic_target_update_weight": EQUAL.tau,
                    "num_critics": EQUAL.critics,
                    "temperature_init": EQUAL.initial_temperature,
                    "use_backup_entropy": EQUAL.entropy_backup,
                    "utd_ratio": EQUAL.utd,
                    "critic_lr": EQUAL.learning_rate,
                    "actor_lr": EQUAL.learning_rate,
                    "temperature_lr": EQUAL.learning_rate,
                    "grad_clip_norm": CLIP,
                    "num_discrete_actions": len(spec.action.gripper_values),
                    "use_torch_compile": setting.compiled,
                    "policy_kwargs": {"std_min": low, "std_max": high},
                },
            },
            lerobot_weights(twin) if setting.equal and not setting.compiled else None,
        )

    def start(self, batch: Batch, noise: np.ndarray | None = None, repeat: int = 1) -> None:
        """Send the batch; it learns while this process goes on."""
        arrays = self.arrays(batch)
        if noise is not None:
            arrays["noise"] = noise
        self.peer.send({"op": "update", "repeat": repeat}, arrays)

    def finish(self) -> Info:
        """Its losses are of the iteration's last critic step; silri's are their mean."""
        info, _ = self.peer.receive()
        return {
            "critic_loss": info["loss_critic"],
            "grasp_loss": info["loss_discrete_critic"],
            "actor_loss": info["loss_actor"],
            "temperature": info["temperature"],
            "seconds": info["seconds"],
            "cpu_seconds": info["cpu_seconds"],
        }

    def arrays(self, batch: Batch) -> dict[str, np.ndarray]:
        """What its learner needs; the gripper as a class, observations normalised by silri."""
        spec = self._spec.action
        action = jnp.asarray(batch.action)
        classes = gripper_classes(spec, action).astype(jnp.float32)
        columns = {
            "features": self._features(batch.observation),
            "next_features": self._features(batch.next_observation),
            "action": jnp.concatenate([continuous_part(spec, action), classes], axis=-1),
            "reward": batch.reward,
            "mask": batch.mask,
            "grasp_penalty": batch.grasp_penalty,
        }
        return {name: np.asarray(column, np.float32) for name, column in columns.items()}

    def act(self, observation: Observation, episode: int, step: int) -> np.ndarray:
        """Its ``select_action``."""
        del episode, step  # its draws come from torch's generator
        return self._ask("act", observation)

    def mean(self, observation: Observation) -> np.ndarray:
        """tanh of its mean, and its discrete critic's best command."""
        return self._ask("mean", observation)

    def q(self, batch: Batch) -> np.ndarray:
        """Of its ``critic_ensemble``."""
        arrays = self.arrays(batch)
        actions = arrays["action"][..., : len(self._spec.action.continuous)]
        self.peer.send({"op": "q"}, {"features": arrays["features"], "action": actions})
        return self.peer.receive()[1]["q"]

    def _ask(self, what: str, observation: Observation) -> np.ndarray:
        features = np.asarray(self._features(observation), np.float32)
        single = features.ndim == 1
        self.peer.send({"op": what}, {"features": np.atleast_2d(features)})
        action = jnp.asarray(self.peer.receive()[1]["action"])
        count = len(self._spec.action.continuous)
        classes = action[..., count:].astype(jnp.int32)
        joined = np.asarray(join(self._spec.action, action[..., :count], classes), np.float32)
        return joined[0] if single else joined


def with_clipping(agent: HILSERLAgent) -> HILSERLAgent:
    """The same agent with LeRobot's clipping in front of every Adam."""
    optimizer = adam(agent.config.learning_rate, CLIP)
    states = {
        name: state.replace(optimizer=optimizer, opt_state=optimizer.init(state.params))
        for name in ("critic", "actor", "grasp", "temperature")
        if (state := getattr(agent, name)) is not None
    }
    return agent.replace(**states)


def lerobot_weights(agent: HILSERLAgent) -> dict[str, np.ndarray]:
    """The agent's networks under LeRobot's names: (out, in) matrices, one entry per critic."""
    weights: dict[str, np.ndarray] = {}

    def dense(name: str, params: dict[str, jax.Array]) -> None:
        weights[f"{name}.weight"] = np.asarray(params["kernel"]).T.copy()
        weights[f"{name}.bias"] = np.asarray(params["bias"])

    def trunk(name: str, params: dict[str, dict[str, jax.Array]]) -> None:
        for layer in range(len(agent.config.trunk.hidden)):
            dense(f"{name}.{3 * layer}", params[f"Dense_{layer}"])  # Linear, LayerNorm, SiLU
            weights[f"{name}.{3 * layer + 1}.weight"] = np.asarray(
                params[f"LayerNorm_{layer}"]["scale"]
            )
            weights[f"{name}.{3 * layer + 1}.bias"] = np.asarray(
                params[f"LayerNorm_{layer}"]["bias"]
            )

    assert agent.grasp is not None
    (members,) = agent.critic.params.values()
    for index in range(agent.config.critics):
        member = jax.tree.map(lambda leaf, index=index: leaf[index], members)
        trunk(f"critic_ensemble.critics.{index}.net.net", member["MLP_0"])
        dense(f"critic_ensemble.critics.{index}.output_layer", member["Dense_0"])
    trunk("actor.network.net", agent.actor.params["MLP_0"])
    dense("actor.mean_layer", agent.actor.params["Dense_0"])
    dense("actor.std_layer", agent.actor.params["Dense_1"])
    trunk("discrete_critic.net.net", agent.grasp.params["MLP_0"])
    dense("discrete_critic.output_layer", agent.grasp.params["Dense_0"])
    return weights
