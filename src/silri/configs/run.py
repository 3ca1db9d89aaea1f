"""RunConfig: agent + environment + operator + data + runtime, and nothing else decides a run."""

from __future__ import annotations

import dataclasses
from dataclasses import field
from typing import Annotated, Any

from tyro.conf import Suppress

from silri.agents.augment import Augment
from silri.agents.base import AgentConfig
from silri.agents.registry import load_agent
from silri.agents.residual import ResidualConfig
from silri.core.errors import ConfigError
from silri.core.protocols import Env
from silri.core.registry import Preset
from silri.core.settings import (
    Field,
    NonNegative,
    NonNegativeInt,
    Positive,
    PositiveInt,
    from_plain,
    merged,
    settings,
    with_article,
)
from silri.envs.config import EnvConfig
from silri.envs.registry import DEFAULT_ENV, create_env, find_env
from silri.intervention.operators import OperatorConfig
from silri.intervention.registry import DEFAULT_OPERATOR, OPERATORS, introduce_operator
from silri.language.config import LanguageConfig
from silri.rewards.config import RewardConfig
from silri.vision.config import VisionConfig
from silri.vla.config import VlaConfig


@settings("data")
class DataConfig:
    """Where demonstrations come from and how much is kept in memory."""

    demos: NonNegativeInt = 20  # successful demonstrations to record before training
    dataset: str | None = None  # folder of recorded episodes to use instead of recording
    online_capacity: PositiveInt = 200_000  # transitions of the online buffer
    guidance_capacity: PositiveInt = 100_000  # transitions of demonstrations and interventions
    std_floor: Positive = 1e-2  # smallest std that inputs are normalised by; constant inputs use 1


@settings("runtime")
class RuntimeConfig:
    """How the loop runs. In one process only blend_steps changes what is learned."""

    blend_steps: NonNegativeInt = 1  # steps over which control is handed over
    checkpoint_every: PositiveInt = 1_000  # steps; taken at the next episode end
    checkpoints_kept: PositiveInt = 3  # newest checkpoints that are kept
    log_every: PositiveInt = 100  # steps between learner metrics
    tensorboard: bool = True  # also write TensorBoard event files
    rate_hz: NonNegative = 0.0  # steps per second to keep, as a robot does; 0: as fast as possible
    # pictures that a real robot's camera may repeat or show dark before the run pauses; 0: any
    camera_patience: NonNegativeInt = 20
    updates_per_step: Positive = 1.0  # cluster: learner iterations per environment step
    publish_every: PositiveInt = 50  # cluster: learner iterations between two versions for robots
    max_lag: NonNegativeInt = 1_000  # cluster: robots wait if the learner is further behind, steps


@settings("evaluation")
class EvaluationConfig:
    """Autonomous episodes on layouts that training never sees."""

    every: NonNegativeInt = 1_000  # steps, and once more at the end; 0: no evaluation
    episodes: PositiveInt = 50  # episodes of one evaluation
    first_layout: NonNegativeInt = 0  # number of the first layout
    videos: NonNegativeInt = 0  # episodes of each that are filmed for you, failures first


@settings("")
class RunConfig:
    """Everything that decides a run; saved as config.json."""

    agent: AgentConfig  # the algorithm
    agent_name: Annotated[str, Suppress] = "silri"  # the command line's --agent
    preset: Annotated[str, Suppress] = "default"  # the command line's --preset
    augment: Augment = field(default_factory=Augment)  # what batches are changed by
    # the policy whose actions the agent corrects
    residual: ResidualConfig = field(default_factory=ResidualConfig)
    env_name: Annotated[str, Suppress] = DEFAULT_ENV  # the command line's --env
    env: EnvConfig = field(default_factory=lambda: _default_env(DEFAULT_ENV))  # the environment
    operator_name: Annotated[str, Suppress] = DEFAULT_OPERATOR  # the command line's --operator
    # who intervenes and demonstrates
    operator: OperatorConfig = field(default_factory=lambda: _default_operator(DEFAULT_OPERATOR))
    vision: VisionConfig = field(default_factory=VisionConfig)  # what becomes of camera frames
    # how instructions are read
    language: LanguageConfig = field(default_factory=LanguageConfig)
    # a vision-language(-action) model to stand on
    vla: VlaConfig = field(default_factory=VlaConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)  # who says in training: it is done
    data: DataConfig = field(default_factory=DataConfig)  # demonstrations and buffers
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)  # the loop
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)  # of the policy alone
    steps: NonNegativeInt = 5_000  # environment steps of training; the last episode is finished
    expert_run: str | None = None  # run folder whose policy is the operator's expert
    start_from: str | None = None  # run or export whose policy the agent's begins as
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0  # every random draw derives from it

    def __post_init__(self) -> None:
        for section, kind in self.kinds(self.agent_name, self.env_name, self.operator_name).items():
            value = getattr(self, section)
            if not isinstance(value, kind):
                name = getattr(self, f"{section}_name")
                raise ConfigError(
                    f"{section} takes {with_article(kind.__name__)} for '{name}', "
                    f"got {with_article(type(value).__name__)}"
                )
        if self.start_from is not None and self.residual.base is not None:
            raise ConfigError(
                f"start_from {self.start_from} and residual.base {self.residual.base}: an agent "
                "begins as a policy or corrects one; give one of the two"
            )
        if self.steps == 0 and not any(stage.updates for stage in self.agent.stages):
            raise ConfigError(
                f"agent {self.agent_name} learns online: steps = 0 would train nothing (give a "
                "stage with updates, such as the preset 'offline' of hil_serl has)"
            )

    @staticmethod
    def kinds(agent: str, env: str, operator: str) -> dict[str, type]:
        """The configuration classes of the sections that depend on a name.

        Raises:
            UnknownNameError: for a name that is not there; lists the right ones.
        """
        return {
            "agent": load_agent(agent).config,
            "env": find_env(env).config,
            "operator": OPERATORS.load(operator).config,
        }

    def create_env(self) -> Env:
        """Build the run's environment; one that draws itself if evaluations are filmed.

        Raises:
            UnknownNameError: no environment has this name; lists the right ones.
            ConfigError: its spaces are unsupported.
        """
        return create_env(self.env_name, self.env, pictures=self.evaluation.videos > 0)

    def create_training_env(self) -> Env:
        """The same for training: where a classifier says what success is, nothing else ends it.

        Raises:
            UnknownNameError, ConfigError: see :meth:`create_env`.
        """
        config = self.env
        if self.reward.model is not None:
            config = dataclasses.replace(config, end_on_success=False, reward="sparse")
        return create_env(self.env_name, config)

    @property
    def sparse_rewards(self) -> tuple[float, float] | None:
        """Rewards of a step and of a success in training, where they are the configuration's."""
        sparse = self.env.sparse or self.reward.model is not None
        return (self.env.step_reward, self.env.success_reward) if sparse else None

    def describe_success(self) -> str:
        """How it is known whether the task was done: printed at the start of a run."""
        own = self.env.describe_success()
        if self.reward.model is None:
            return own
        return (
            f"success in training: the classifier in {self.reward.model}, "
            f"{self.reward.consecutive} steps in a row; in evaluations: {own}"
        )

    def introduce_operator(self) -> str:
        """Who intervenes."""
        return introduce_operator(self.operator_name, self.operator)

    @classmethod
    def from_preset(
        cls,
        agent_name: str = "silri",
        preset: str = "default",
        *,
        env_name: str = DEFAULT_ENV,
        operator_name: str = DEFAULT_OPERATOR,
        **fields: Any,
    ) -> RunConfig:
        """The configuration that names stand for, with what the preset changes around its agent.

        Args:
            agent_name: see ``silri list agents``.
            preset: of that agent.
            env_name: see ``silri list envs``.
            operator_name: see ``silri list operators``.
            **fields: of the configuration; ``env`` and ``operator`` fit their names.

        Raises:
            UnknownNameError: a name that is not there; lists the right ones.
            ConfigError: the preset changes a field that there is not, for this environment say.
        """
        chosen = load_agent(agent_name).preset(preset)
        env, operator = find_env(env_name).preset(), OPERATORS.load(operator_name).preset()
        named: dict[str, Any] = {"env": env.config, "operator": operator.config}
        config = cls(
            agent=chosen.config,
            agent_name=agent_name,
            preset=preset,
            env_name=env_name,
            operator_name=operator_name,
            **named | fields,
        )
        # The agent's last: it is the one that has a name of its own on the command line.
        for which, name, each in (
            ("preset 'default' of environment", env_name, env),
            ("preset 'default' of operator", operator_name, operator),
            (f"preset '{preset}' of agent", agent_name, chosen),
        ):
            config = _with_overrides(config, each, f"{which} {name}")
        return config


def _default_env(name: str) -> EnvConfig:
    config: EnvConfig = find_env(name).preset().config
    return config


def _default_operator(name: str) -> OperatorConfig:
    config: OperatorConfig = OPERATORS.load(name).preset().config
    return config


def _with_overrides(config: RunConfig, preset: Preset, whose: str) -> RunConfig:
    """The configuration with what a preset changes in other sections."""
    changed: dict[str, Any] = {}
    for section, fields in preset.run.items():
        where = f"{whose} changes {section}"
        value = getattr(config, section, None)
        if not dataclasses.is_dataclass(value) or isinstance(value, type):
            raise ConfigError(f"{where}, and a run has no such section")
        try:
            plain = merged(dataclasses.asdict(value), fields)
            changed[section] = from_plain(type(value), plain, section)
        except ConfigError as error:
            raise ConfigError(f"{where}, and {error}") from error
    return dataclasses.replace(config, **changed)
