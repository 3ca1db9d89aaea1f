from __future__ import annotations

import math
import sys
import types
from dataclasses import replace
from typing import ClassVar

import pytest

from silri.agents.registry import AGENTS, load_agent
from silri.agents.stages import Stage
from silri.configs.run import (
    DataConfig,
    EvaluationConfig,
    RunConfig,
    RuntimeConfig,
    _with_overrides,
)
from silri.core.errors import ConfigError, UnknownNameError
from silri.core.registry import Preset
from silri.envs.config import GymConfig, MetaworldConfig
from silri.intervention.operators import NoOperator, OperatorConfig

EVERY_PRESET = [(name, preset) for name in AGENTS.names() for preset in load_agent(name).presets]
CONFIG = RunConfig.from_preset()


@pytest.mark.parametrize(("agent", "preset"), EVERY_PRESET)
def test_every_preset_loads_and_names_itself(agent, preset):
    config = RunConfig.from_preset(agent, preset)
    assert (config.agent_name, config.preset) == (agent, preset)
    assert config.agent == load_agent(agent).presets[preset].config


def test_the_default_is_silri_on_the_default_task():
    assert (CONFIG.agent_name, CONFIG.preset) == ("silri", "default")
    assert CONFIG.env_name == "metaworld/drawer-open-v3"
    assert CONFIG.operator_name == "heterogeneous"
    assert CONFIG.evaluation == EvaluationConfig(every=1000, episodes=50)
    assert CONFIG.data.demos == 20


def test_a_preset_changes_the_reward_around_its_agent():
    config = RunConfig.from_preset(
        "hil_serl",
        "published",
        env_name="metaworld/reach-v3",
        env=MetaworldConfig(success_reward=7.0, reset_range=0.1),
    )
    assert (config.env.success_reward, config.env.step_reward) == (1.0, 0.0)
    assert config.env.reset_range == 0.1  # and nothing else
    shared = RunConfig.from_preset("hil_serl", "default")
    assert (shared.env.success_reward, shared.env.step_reward) == (10.0, -0.05)
    assert shared.env == RunConfig.from_preset("silri").env


def test_fields_reach_the_configuration():
    config = RunConfig.from_preset("bc", steps=7, seed=3, data=DataConfig(demos=1))
    assert (config.steps, config.seed, config.data.demos) == (7, 3, 1)


@pytest.mark.parametrize(
    ("agent", "preset", "message"),
    [
        ("silry", "default", r"unknown agent 'silry'\. Did you mean 'silri'\? Known: silri, "),
        ("silri", "publish", r"preset of agent silri 'publish'.*default, released, paper"),
        ("bc", "released", r"unknown preset of agent bc 'released'.*default, published"),
    ],
)
def test_unknown_names_list_the_right_ones(agent, preset, message):
    with pytest.raises(UnknownNameError, match=message):
        RunConfig.from_preset(agent, preset)


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (RunConfig, {"steps": -1}, "steps takes a whole number >= 0, got -1"),
        (RunConfig, {"seed": -1}, "seed takes a whole number from 0 to 2147483647, got -1"),
        (RunConfig, {"seed": 2**31}, "seed takes a whole number from 0 to 2147483647"),
        (RunConfig, {"seed": True}, "seed takes a whole number from 0 to 2147483647, got True"),
        (DataConfig, {"demos": -1}, "data.demos takes a whole number >= 0, got -1"),
        (DataConfig, {"std_floor": 0.0}, "data.std_floor takes a number > 0, got 0.0"),
        (DataConfig, {"online_capacity": 0}, "data.online_capacity takes a whole number >= 1"),
        (DataConfig, {"guidance_capacity": 0}, "data.guidance_capacity takes a whole number >= 1"),
        (EvaluationConfig, {"every": -1}, "evaluation.every takes a whole number >= 0, got -1"),
        (EvaluationConfig, {"episodes": 0}, "evaluation.episodes takes a whole number >= 1"),
        (EvaluationConfig, {"first_layout": -1}, "evaluation.first_layout takes a whole number"),
        (EvaluationConfig, {"videos": -1}, "evaluation.videos takes a whole number >= 0, got -1"),
        (RuntimeConfig, {"blend_steps": -1}, "runtime.blend_steps takes a whole number >= 0"),
        (RuntimeConfig, {"checkpoint_every": 0}, "runtime.checkpoint_every takes a whole number"),
        (RuntimeConfig, {"checkpoints_kept": 0}, "runtime.checkpoints_kept takes a whole number"),
        (RuntimeConfig, {"log_every": 0}, "runtime.log_every takes a whole number >= 1, got 0"),
        (RuntimeConfig, {"rate_hz": -1.0}, "runtime.rate_hz takes a number >= 0, got -1.0"),
        (RuntimeConfig, {"rate_hz": math.inf}, "runtime.rate_hz takes a finite number >= 0"),
        (RuntimeConfig, {"updates_per_step": 0.0}, "runtime.updates_per_step takes a number > 0"),
        (RuntimeConfig, {"publish_every": 0}, "runtime.publish_every takes a whole number >= 1"),
        (RuntimeConfig, {"max_lag": -1}, "runtime.max_lag takes a whole number >= 0, got -1"),
        (RuntimeConfig, {"tensorboard": 1}, "runtime.tensorboard takes True or False, got 1"),
    ],
)
def test_wrong_values_name_the_field_what_it_got_and_what_it_takes(kind, fields, message):
    with pytest.raises(ConfigError) as error:
        replace(CONFIG, **fields) if kind is RunConfig else kind(**fields)
    assert str(error.value).startswith(message)


def test_evaluation_can_be_off():
    assert EvaluationConfig(every=0).every == 0


def test_a_configuration_that_is_not_of_its_name_is_refused():
    with pytest.raises(ConfigError) as error:
        replace(CONFIG, env=GymConfig())
    assert str(error.value) == (
        "env takes a MetaworldConfig for 'metaworld/drawer-open-v3', got a GymConfig"
    )
    with pytest.raises(
        ConfigError,
        match="operator takes a SimulatedConfig for 'heterogeneous', got an OperatorConfig",
    ):
        replace(CONFIG, operator=OperatorConfig())
    with pytest.raises(ConfigError, match="agent takes a BCConfig for 'bc', got a SiLRIConfig"):
        replace(CONFIG, agent_name="bc")
    with pytest.raises(ConfigError, match="^env takes an EnvConfig, got 3$"):
        replace(CONFIG, env=3)


def overridden(**run):
    preset = Preset(CONFIG.agent, "for this test", run)
    return _with_overrides(CONFIG, preset, "preset 'odd' of agent silri")


def test_a_preset_changes_any_section():
    config = overridden(data={"demos": 3}, operator={"gate": {"hold": (1, 2)}})
    assert config.data == replace(CONFIG.data, demos=3)
    gate = replace(CONFIG.operator.gate, hold=(1, 2))
    assert config.operator == replace(CONFIG.operator, gate=gate)


class Device(NoOperator):
    """An operator whose preset changes the run around it."""

    presets: ClassVar = {
        "default": Preset(OperatorConfig(), "a device", {"data": {"demos": 5, "std_floor": 0.5}})
    }


class Arm:
    """An environment whose preset does."""

    presets: ClassVar = {
        "default": Preset(CONFIG.env, "an arm", {"data": {"demos": 7}, "agent": {"kappa": 3.0}})
    }

    @staticmethod
    def create(config, name):
        raise NotImplementedError


def test_presets_of_operators_and_environments_change_the_run_too(monkeypatch):
    module = types.ModuleType("for_this_test")
    module.Device, module.Arm = Device, Arm
    monkeypatch.setitem(sys.modules, "for_this_test", module)
    config = RunConfig.from_preset(operator_name="for_this_test:Device")
    assert config.data == replace(CONFIG.data, demos=5, std_floor=0.5)
    config = RunConfig.from_preset(env_name="for_this_test:Arm")
    assert (config.data.demos, config.agent.kappa) == (7, 3.0)
    both = RunConfig.from_preset(env_name="for_this_test:Arm", operator_name="for_this_test:Device")
    assert both.data == replace(CONFIG.data, demos=5, std_floor=0.5)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (
            {"env": {"gripper_dims": (1,)}},
            "preset 'odd' of agent silri changes env, and env has no field 'gripper_dims'.",
        ),
        (
            {"env": {"step_reward": "none"}},
            "preset 'odd' of agent silri changes env, and env.step_reward takes a number, got",
        ),
        (
            {"envs": {"step_reward": 0.0}},
            "preset 'odd' of agent silri changes envs, and a run has no such section",
        ),
        (
            {"steps": {"step_reward": 0.0}},
            "preset 'odd' of agent silri changes steps, and a run has no such section",
        ),
    ],
)
def test_a_preset_that_changes_what_there_is_not_is_refused(run, message):
    with pytest.raises(ConfigError) as error:
        overridden(**run)
    assert str(error.value).startswith(message)


def test_a_run_without_steps_needs_a_stage_with_updates():
    online = replace(CONFIG.agent, stages=(Stage("online"),))
    with pytest.raises(ConfigError, match=r"silri learns online: steps = 0 would train nothing"):
        replace(CONFIG, agent=online, steps=0)
    assert replace(CONFIG, steps=0).steps == 0  # it has learned from the demonstrations
    assert RunConfig.from_preset("hil_serl", "offline", steps=0).agent.offline_iterations


@pytest.mark.parametrize("agent", AGENTS.names())
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("batch_size", 1),
        ("online_fraction", 1.5),
        ("utd", 0),
        ("discount", 1.0),
        ("n_step", 0),
        ("reward_unit", -1.0),
        ("average_rate", 0.0),
    ],
)
def test_shared_fields_of_an_agent_are_checked(agent, field, value):
    config = load_agent(agent).presets["default"].config
    with pytest.raises(ConfigError, match=rf"agent\.{field} takes .*, got {value}"):
        replace(config, **{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tau", 0.0),
        ("critics", 0),
        ("constraint", "l3"),
        ("kappa", -1.0),
        ("multiplier", "scalars"),
        ("initial_multiplier", 0.0),
        ("multiplier_lr", 0.0),
        ("explore_std", 0.0),
        ("expert_decay", -1.0),
        ("expert_rate", 0.0),
    ],
)
def test_fields_of_silri_are_checked(field, value):
    with pytest.raises(ConfigError, match=rf"agent\.{field} takes "):
        replace(load_agent("silri").presets["default"].config, **{field: value})


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ((), "agent.stages takes one stage or more, all but the last with a number of updates"),
        ((Stage("online"), Stage("online")), "all but the last with a number of updates, got"),
        ((Stage("burn"), Stage("online")), "of the names clone, pretrain, offline, online, got"),
        (({"name": "online"}, 3), "agent.stages[1] takes a Stage, got 3"),
    ],
)
def test_stages_that_cannot_follow_each_other_are_refused(stages, message):
    with pytest.raises(ConfigError) as error:
        replace(CONFIG.agent, stages=stages)
    assert message in str(error.value)


def test_a_stage_takes_no_negative_updates():
    with pytest.raises(ConfigError, match=r"agent\.stages\.updates takes a whole number >= 0"):
        Stage("pretrain", "guidance", -1)
