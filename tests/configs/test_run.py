from __future__ import annotations

from dataclasses import replace

import pytest

from silri.agents.registry import AGENTS, load_agent
from silri.configs.run import DataConfig, EvaluationConfig, RunConfig, RuntimeConfig
from silri.core.errors import ConfigError, UnknownNameError
from silri.envs.config import EnvConfig

EVERY_PRESET = [(name, preset) for name in AGENTS.names() for preset in load_agent(name).presets]
CONFIG = RunConfig.from_preset()


@pytest.mark.parametrize(("agent", "preset"), EVERY_PRESET)
def test_every_preset_loads_and_names_itself(agent, preset):
    config = RunConfig.from_preset(agent, preset)
    assert (config.agent_name, config.preset) == (agent, preset)
    assert config.agent == load_agent(agent).presets[preset].config


def test_the_default_is_silri_on_the_default_task():
    assert (CONFIG.agent_name, CONFIG.preset) == ("silri", "default")
    assert CONFIG.env.name == "metaworld/drawer-open-v3"
    assert CONFIG.operator.name == "heterogeneous"
    assert CONFIG.evaluation == EvaluationConfig(every=1000, episodes=50)
    assert CONFIG.data.demos == 20


def test_a_preset_changes_the_reward_around_its_agent():
    config = RunConfig.from_preset(
        "hil_serl", "published", env=EnvConfig("metaworld/reach-v3", success_reward=7.0)
    )
    assert (config.env.success_reward, config.env.step_reward) == (1.0, 0.0)
    assert config.env.name == "metaworld/reach-v3"  # and nothing else
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
        ("silri", "publish", r"preset of agent silri 'publish'.*default, first, released, paper"),
        ("bc", "released", r"unknown preset of agent bc 'released'.*default, published"),
    ],
)
def test_unknown_names_list_the_right_ones(agent, preset, message):
    with pytest.raises(UnknownNameError, match=message):
        RunConfig.from_preset(agent, preset)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": -1}, r"steps takes 0 or more, got -1"),
        ({"seed": -1}, r"seed takes a whole number from 0 to 2\*\*31 - 1, got -1"),
        ({"seed": 2**31}, r"seed takes"),
        ({"offline_updates": -5}, r"offline_updates takes 0 or more, got -5"),
        ({"offline_updates": 5}, r"offline_updates needs data\.dataset"),
        ({"data": DataConfig(demos=-1)}, r"data\.demos takes 0 or more, got -1"),
        ({"data": DataConfig(std_floor=0.0)}, r"data\.std_floor takes a positive number"),
        ({"data": DataConfig(online_capacity=0)}, r"data\.online_capacity takes 1 or more, got 0"),
        (
            {"data": DataConfig(guidance_capacity=0)},
            r"data\.guidance_capacity takes 1 or more, got 0",
        ),
        ({"evaluation": EvaluationConfig(every=0)}, r"evaluation\.every takes 1 or more, got 0"),
        (
            {"evaluation": EvaluationConfig(episodes=0)},
            r"evaluation\.episodes takes 1 or more, got 0",
        ),
        (
            {"runtime": RuntimeConfig(blend_steps=-1)},
            r"runtime\.blend_steps takes 0 or more, got -1",
        ),
        (
            {"runtime": RuntimeConfig(checkpoint_every=0)},
            r"runtime\.checkpoint_every takes 1 or more, got 0",
        ),
        (
            {"runtime": RuntimeConfig(checkpoints_kept=0)},
            r"runtime\.checkpoints_kept takes 1 or more, got 0",
        ),
        ({"runtime": RuntimeConfig(log_every=0)}, r"runtime\.log_every takes 1 or more, got 0"),
    ],
)
def test_wrong_values_name_the_field_what_it_got_and_what_it_takes(fields, message):
    with pytest.raises(ConfigError, match=message):
        replace(CONFIG, **fields)


def test_an_agent_that_learns_online_needs_steps_or_a_dataset():
    with pytest.raises(ConfigError, match=r"silri learns online: steps = 0"):
        replace(CONFIG, steps=0)
    assert replace(RunConfig.from_preset("bc"), steps=0).steps == 0
    offline = RunConfig.from_preset(
        "hil_serl", "offline", steps=0, offline_updates=10, data=DataConfig(dataset="d")
    )
    assert offline.offline_updates == 10


@pytest.mark.parametrize("agent", AGENTS.names())
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("batch_size", 1),
        ("online_fraction", 1.5),
        ("utd", 0),
        ("pretrain_steps", -1),
        ("own_fraction", 1.0),
        ("n_step", 0),
    ],
)
def test_shared_fields_of_an_agent_are_checked(agent, field, value):
    config = load_agent(agent).presets["default"].config
    with pytest.raises(ConfigError, match=rf"agent\.{field} takes .*, got {value}"):
        replace(config, **{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("discount", 1.0),
        ("tau", 0.0),
        ("critics", 0),
        ("scale_bounds", (0.5, 0.1)),
        ("kappa", -1.0),
        ("initial_multiplier", 0.0),
        ("multiplier_lr", 0.0),
        ("target_noise", -0.1),
        ("explore_std", 0.0),
        ("burst", 0),
        ("clip_norm", 0.0),
        ("least_deviation", 0.0),
        ("experts", 0),
        ("expert_decay", -1.0),
        ("expert_rate", 0.0),
        ("novelty_weight", -1.0),
        ("advantage_scale", -1.0),
    ],
)
def test_fields_of_silri_are_checked(field, value):
    with pytest.raises(ConfigError, match=rf"agent\.{field} takes "):
        replace(load_agent("silri").presets["default"].config, **{field: value})
