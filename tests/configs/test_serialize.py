from __future__ import annotations

import json
from dataclasses import replace

import pytest

from silri.agents.registry import AGENTS, load_agent
from silri.configs.run import DataConfig, RunConfig
from silri.configs.serialize import (
    FORMAT,
    differences,
    from_json,
    load_config,
    migrate,
    to_json,
)
from silri.core.errors import ConfigError, UnknownNameError
from silri.envs.config import EnvConfig
from silri.intervention.operators import OperatorConfig

EVERY_PRESET = [(name, preset) for name in AGENTS.names() for preset in load_agent(name).presets]
EDITED = RunConfig.from_preset(
    "silri",
    "paper",
    env=EnvConfig(name="metaworld/reach-v3", reset_range=0.05, gripper_dims=(1, 2)),
    operator=OperatorConfig("steady", hold=(2, 9), one_axis=True, delay=0),
    data=DataConfig(dataset="somewhere", std_floor=0.5),
    steps=123,
    seed=2**31 - 1,
)


def text(config):
    return json.loads(json.dumps(to_json(config)))


@pytest.mark.parametrize(("agent", "preset"), EVERY_PRESET)
def test_every_preset_survives_json(agent, preset):
    config = RunConfig.from_preset(agent, preset)
    again = from_json(text(config))
    assert again == config
    assert hash(again) == hash(config)  # agents are keyed by it: no list may come back
    assert differences(config, again) == []


def test_every_kind_of_field_survives_json():
    again = from_json(text(EDITED))
    assert again == EDITED
    assert again.operator.hold == (2, 9)
    assert again.env.gripper_dims == (1, 2)
    assert again.operator.one_axis is True


def broken(path, value):
    """EDITED's JSON with the field at ``path`` replaced; ``...`` removes it."""
    data = text(EDITED)
    *parents, last = path.split(".")
    inner = data
    for name in parents:
        inner = inner[name]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("agent.kapa", 1.0, r"unknown configuration field agent\.kapa"),
        ("gpu", 1, r"unknown configuration field gpu"),
        ("agent.kappa", ..., r"missing configuration field agent\.kappa"),
        ("runtime", ..., r"missing configuration field runtime"),
        ("agent.kappa", "six", r"agent\.kappa takes float, got 'six'"),
        ("agent.kappa", True, r"agent\.kappa takes float, got True"),
        ("agent.kappa", None, r"agent\.kappa takes float, got None"),
        ("agent.kappa", -1, r"agent\.kappa takes 0 or more, got -1\.0"),
        ("agent.utd", 2.5, r"agent\.utd takes int, got 2\.5"),
        ("agent.utd", True, r"agent\.utd takes int, got True"),
        ("agent.distance", "l3", r"agent\.distance takes one of 'l2', 'sq_l2', .*, got 'l3'"),
        ("agent.trunk.hidden", "256", r"agent\.trunk\.hidden takes a list, got '256'"),
        ("agent.trunk.hidden", [256, "x"], r"agent\.trunk\.hidden takes int, got 'x'"),
        ("agent.trunk.layer_norm", 1, r"agent\.trunk\.layer_norm takes bool, got 1"),
        ("agent.scale_bounds", [2.0, 1.0], r"agent\.scale_bounds takes 0 < low < high"),
        ("agent", 3, r"agent takes an object, got 3"),
        ("env.max_episode_steps", "many", r"env\.max_episode_steps takes int, got 'many'"),
        ("seed", -1, r"seed takes a whole number from 0 to 2\*\*31 - 1, got -1"),
        ("data.dataset", 7, r"data\.dataset takes str, got 7"),
        ("operator.hold", 3, r"operator\.hold takes a list, got 3"),
    ],
)
def test_what_does_not_fit_is_named(path, value, message):
    with pytest.raises(ConfigError, match=message):
        from_json(broken(path, value))


def test_tuples_of_fixed_length_stay_so():
    with pytest.raises(ConfigError, match=r"agent\.scale_bounds"):
        from_json(broken("agent.scale_bounds", [0.1]))
    with pytest.raises(ConfigError, match=r"operator\.hold"):
        from_json(broken("operator.hold", [1, 2, 3]))


def test_whole_numbers_are_numbers():
    assert from_json(broken("agent.kappa", 6)).agent.kappa == 6.0
    assert isinstance(from_json(broken("agent.kappa", 6)).agent.kappa, float)
    assert from_json(broken("env.reset_range", None)).env.reset_range is None


def test_an_agent_of_another_version_lists_the_right_ones():
    with pytest.raises(UnknownNameError, match=r"unknown agent 'ppo'.* Known: silri, hil_serl"):
        from_json(broken("agent_name", "ppo"))


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"run": 3}', '{"run": null}', '{"run": {}}', "\x00\xff"]
)
def test_a_damaged_config_json_is_a_config_error_that_names_the_file(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"config"):
        load_config(path)


def test_load_config_reads_what_is_under_run(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"run": to_json(EDITED), "python": "3.11"}))
    assert load_config(path) == EDITED


def test_differences_name_every_leaf():
    other = replace(
        EDITED, agent=replace(EDITED.agent, kappa=3.0), env=replace(EDITED.env, name="metaworld/x")
    )
    assert differences(EDITED, other) == [
        "agent.kappa: 6.0 -> 3.0",
        "env.name: 'metaworld/reach-v3' -> 'metaworld/x'",
    ]
    assert differences(EDITED, from_json(text(EDITED))) == []
    bc = RunConfig.from_preset("bc")
    assert "agent.kappa: 6.0 -> None" in differences(EDITED, bc)


SINCE_THIRD = {
    "silri": [
        *("least_deviation", "average_gripper", "expert_decay", "expert_rate", "experts"),
        *("novelty_weight", "advantage_scale", "q_scale", "ask_fraction"),
    ],
    "hil_serl": ["average_rate"],
    "hg_dagger": ["decay", "average_rate"],
    "bc": ["decay", "average_rate"],
}
# What was the default when formats 1 and 2 were written.
THEN = {"silri": "first", "hil_serl": "published", "hg_dagger": "published", "bc": "published"}


# What the agents of a format did not have yet; an earlier one lacks what a later one lacks.
SINCE = {
    8: ["imitate"],
    7: ["reward_unit"],
    6: ["pretrain_critic"],  # SiLRI's alone
    5: ["goal_shift"],
    4: ["relative"],
    3: ["shift", "shift_share"],
}


def earlier_format(config, number):
    """The JSON of format 3 or a later one."""
    data = text(config)
    for last, names in SINCE.items():
        for name in names if number <= last else []:
            data["agent"].pop(name, None)
    return data


def second_format(config):
    """The JSON of format 2, which had nothing of what made SiLRI steadier."""
    data = earlier_format(config, 3)
    for name in ["own_fraction", "n_step", "average_tail", *SINCE_THIRD[config.agent_name]]:
        del data["agent"][name]
    del data["evaluation"]["first_layout"], data["operator"]["answer"]
    return data


def first_format(config):
    """The JSON of format 1, which had no fields for robots."""
    data = second_format(config)
    for name in ("rate_hz", "updates_per_step", "publish_every", "max_lag"):
        del data["runtime"][name]
    return data


@pytest.mark.parametrize("agent", AGENTS.names())
def test_a_configuration_of_an_earlier_format_means_what_it_did(agent):
    config = RunConfig.from_preset(agent, THEN[agent])
    meant = replace(config, agent=replace(config.agent, shift=0.0))
    assert from_json(migrate(first_format(config), None, "config.json")) == meant
    assert from_json(migrate(first_format(config), 1, "config.json")) == meant
    assert from_json(migrate(second_format(config), 2, "config.json")) == meant
    assert from_json(migrate(earlier_format(config, 3), 3, "config.json")) == meant
    for number in range(4, FORMAT):
        assert from_json(migrate(earlier_format(config, number), number, "config.json")) == config


def test_migration_adds_what_is_missing_and_touches_nothing_else():
    config = RunConfig.from_preset("silri")
    data = text(config)
    assert migrate(data, FORMAT, "config.json") is data
    broken_data = first_format(config)
    del broken_data["runtime"]["log_every"]
    with pytest.raises(ConfigError, match=r"missing configuration field runtime\.log_every"):
        from_json(migrate(broken_data, 1, "config.json"))


@pytest.mark.parametrize("version", [FORMAT + 1, 0, "2"])
def test_a_configuration_of_a_later_format_is_refused_with_its_number(version):
    with pytest.raises(ConfigError, match=rf"config\.json has format {version}; .* up to {FORMAT}"):
        migrate({}, version, "config.json")
