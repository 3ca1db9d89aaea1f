"""RunConfig: agent + environment + operator + data + runtime, and nothing else decides a run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from tyro.conf import Suppress

from silri.agents.base import AgentConfig
from silri.agents.registry import load_agent
from silri.core.errors import ConfigError
from silri.envs.config import EnvConfig
from silri.intervention.operators import OperatorConfig


@dataclass(frozen=True)
class DataConfig:
    """Where demonstrations come from and how much is kept in memory."""

    demos: int = 20  # successful demonstrations, recorded by the run's operator before training
    dataset: str | None = None  # folder of recorded episodes to use instead of recording
    online_capacity: int = 200_000  # transitions of the online buffer
    guidance_capacity: int = 100_000  # transitions of demonstrations and interventions
    std_floor: float = 1e-2  # least deviation to normalise by; what never varied has 1


@dataclass(frozen=True)
class RuntimeConfig:
    """How the loop runs; in one process, only ``blend_steps`` changes what is learned."""

    blend_steps: int = 1  # steps over which control is handed over
    checkpoint_every: int = 1_000  # steps; taken at the next episode end
    checkpoints_kept: int = 3  # newest ones
    log_every: int = 100  # steps between learner metrics
    tensorboard: bool = True  # also write event files
    rate_hz: float = 0.0  # steps per second to keep, as a robot does; 0: as fast as it can
    updates_per_step: float = 1.0  # cluster: learner iterations per environment step
    publish_every: int = 50  # cluster: learner iterations between two versions for the robots
    max_lag: int = 1_000  # cluster: steps the learner may be behind before robots wait; 0: never


@dataclass(frozen=True)
class EvaluationConfig:
    """Autonomous episodes on layouts that training never sees."""

    every: int = 1_000  # steps; and once more at the end
    episodes: int = 50  # per evaluation
    first_layout: int = 0  # number of the first layout; tuning takes others than results do


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run; saved as ``config.json``."""

    agent: AgentConfig
    agent_name: Annotated[str, Suppress] = "silri"  # the command line's --agent
    preset: Annotated[str, Suppress] = "default"  # and --preset
    env: EnvConfig = field(default_factory=EnvConfig)
    operator: OperatorConfig = field(default_factory=OperatorConfig)
    data: DataConfig = field(default_factory=DataConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    steps: int = 5_000  # environment steps of training; the last episode is finished
    expert_run: str | None = None  # run folder whose policy is the operator's expert
    offline_updates: int = 0  # learner iterations on data.dataset before the first step
    seed: int = 0  # every random draw of the run derives from it

    def __post_init__(self) -> None:
        checks = {
            "steps": (self.steps, self.steps >= 0, "0 or more"),
            "seed": (self.seed, 0 <= self.seed < 2**31, "a whole number from 0 to 2**31 - 1"),
            "offline_updates": (self.offline_updates, self.offline_updates >= 0, "0 or more"),
            "data.demos": (self.data.demos, self.data.demos >= 0, "0 or more"),
            "data.std_floor": (self.data.std_floor, self.data.std_floor > 0, "a positive number"),
            "data.online_capacity": (
                self.data.online_capacity,
                self.data.online_capacity >= 1,
                "1 or more",
            ),
            "data.guidance_capacity": (
                self.data.guidance_capacity,
                self.data.guidance_capacity >= 1,
                "1 or more",
            ),
            "evaluation.every": (self.evaluation.every, self.evaluation.every >= 1, "1 or more"),
            "evaluation.episodes": (
                self.evaluation.episodes,
                self.evaluation.episodes >= 1,
                "1 or more",
            ),
            "runtime.blend_steps": (
                self.runtime.blend_steps,
                self.runtime.blend_steps >= 0,
                "0 or more",
            ),
            "evaluation.first_layout": (
                self.evaluation.first_layout,
                self.evaluation.first_layout >= 0,
                "0 or more",
            ),
            "runtime.checkpoint_every": (
                self.runtime.checkpoint_every,
                self.runtime.checkpoint_every >= 1,
                "1 or more",
            ),
            "runtime.checkpoints_kept": (
                self.runtime.checkpoints_kept,
                self.runtime.checkpoints_kept >= 1,
                "1 or more",
            ),
            "runtime.rate_hz": (
                self.runtime.rate_hz,
                0.0 <= self.runtime.rate_hz < float("inf"),
                "0 (as fast as it can) or a number of Hz",
            ),
            "runtime.updates_per_step": (
                self.runtime.updates_per_step,
                0.0 < self.runtime.updates_per_step < float("inf"),
                "a positive number",
            ),
            "runtime.publish_every": (
                self.runtime.publish_every,
                self.runtime.publish_every >= 1,
                "1 or more",
            ),
            "runtime.max_lag": (self.runtime.max_lag, self.runtime.max_lag >= 0, "0 or more"),
            "runtime.log_every": (
                self.runtime.log_every,
                self.runtime.log_every >= 1,
                "1 or more",
            ),
        }
        for name, (value, ok, takes) in checks.items():
            if not ok:
                raise ConfigError(f"{name} takes {takes}, got {value!r}")
        if self.offline_updates and self.data.dataset is None:
            raise ConfigError("offline_updates needs data.dataset, the episodes to learn from")
        if self.steps == 0 and self.env_learns and not self.offline_updates:
            raise ConfigError(
                f"agent {self.agent_name} learns online: steps = 0 would train nothing "
                "(give offline_updates to learn from a dataset alone)"
            )

    @property
    def env_learns(self) -> bool:
        """Whether the algorithm acts in the environment to learn."""
        return bool(load_agent(self.agent_name).agent.learns_online)

    @classmethod
    def from_preset(
        cls, agent_name: str = "silri", preset: str = "default", **fields: Any
    ) -> RunConfig:
        """The configuration a preset stands for, environment overrides included.

        Raises:
            UnknownNameError: unknown agent or preset; lists the right ones.
        """
        chosen = load_agent(agent_name).preset(preset)
        env = replace(fields.pop("env", EnvConfig()), **chosen.env)
        return cls(agent=chosen.config, agent_name=agent_name, preset=preset, env=env, **fields)
