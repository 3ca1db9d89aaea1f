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
    from_versioned,
    load_config,
    to_json,
)
from silri.core.errors import ConfigError, UnknownNameError
from silri.envs.config import GymConfig
from silri.intervention.gate import GateConfig
from silri.intervention.operators import SimulatedConfig
from silri.intervention.skill import SkillConfig
from silri.rewards.config import RewardConfig

EVERY_PRESET = [(name, preset) for name in AGENTS.names() for preset in load_agent(name).presets]
EDITED = RunConfig.from_preset(
    "silri",
    "paper",
    env_name="gym/Pendulum-v1",
    env=GymConfig(max_episode_steps=5, gripper_dims=(1, 2)),
    operator_name="steady",
    operator=SimulatedConfig(SkillConfig(one_axis=True, delay=0), GateConfig(hold=(2, 9))),
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
    assert differences(to_json(config), to_json(again)) == []


def test_every_kind_of_field_survives_json():
    again = from_json(text(EDITED))
    assert again == EDITED
    assert again.operator.gate.hold == (2, 9)
    assert again.env.gripper_dims == (1, 2)
    assert again.operator.skill.one_axis is True


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
        ("agent.kapa", 1.0, "agent has no field 'kapa'. Did you mean 'kappa'?"),
        ("gpu", 1, "the configuration has no field 'gpu'."),
        ("env.reset_range", 0.1, "env has no field 'reset_range'."),
        ("agent.kappa", ..., "missing configuration field agent.kappa"),
        ("runtime", ..., "missing configuration field runtime"),
        ("env.name", ..., "env.name takes text, got None"),
        ("agent_name", ..., "agent_name takes text, got None"),
        ("operator", ..., "operator takes an object with a 'name', got None"),
        ("agent.kappa", "six", "agent.kappa takes a number >= 0, got 'six'"),
        ("agent.kappa", True, "agent.kappa takes a number >= 0, got True"),
        ("agent.kappa", None, "agent.kappa takes a number >= 0, got None"),
        ("agent.kappa", -1, "agent.kappa takes a number >= 0, got -1"),
        ("agent.utd", 2.5, "agent.utd takes a whole number >= 1, got 2.5"),
        ("agent.utd", True, "agent.utd takes a whole number >= 1, got True"),
        ("agent.constraint", "l3", "agent.constraint takes 'kl', 'released' or 'paper', got 'l3'"),
        ("agent.trunk.hidden", "256", "agent.trunk.hidden takes "),
        (
            "agent.trunk.hidden",
            [256, "x"],
            "agent.trunk.hidden[1] takes a whole number >= 1, got 'x'",
        ),
        ("agent.trunk.layer_norm", 1, "agent.trunk.layer_norm takes True or False, got 1"),
        ("agent.stages", [], "agent.stages takes one stage or more"),
        ("agent.stages", [{"name": "online"}], "missing configuration field agent.stages[0]"),
        ("agent", 3, "agent takes a SiLRIConfig, got 3"),
        ("env.max_episode_steps", "many", "env.max_episode_steps takes a whole number >= 1, or"),
        ("seed", -1, "seed takes a whole number from 0 to 2147483647, got -1"),
        ("data.dataset", 7, "data.dataset takes text, or None, got 7"),
        ("operator.gate.hold", 3, "operator.gate.hold takes 2 values (a whole number >= 1; "),
    ],
)
def test_what_does_not_fit_is_named(path, value, message):
    with pytest.raises(ConfigError) as error:
        from_json(broken(path, value))
    assert str(error.value).startswith(message)


def test_tuples_of_fixed_length_stay_so():
    with pytest.raises(ConfigError, match=r"operator\.gate\.hold"):
        from_json(broken("operator.gate.hold", [1, 2, 3]))


def test_whole_numbers_are_numbers():
    assert from_json(broken("agent.kappa", 6)).agent.kappa == 6.0
    assert isinstance(from_json(broken("agent.kappa", 6)).agent.kappa, float)
    assert from_json(broken("env.max_episode_steps", None)).env.max_episode_steps is None


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


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("steps", "forty", "steps takes a whole number >= 0, got 'forty'"),
        ("bogus", 1, "no field 'bogus'"),
        ("agent_name", "ppo", "unknown agent 'ppo'"),
        (None, None, "a configuration is an object, got None"),
    ],
)
def test_what_does_not_fit_in_a_file_is_named_with_the_file(tmp_path, field, value, message):
    path = tmp_path / "config.json"
    run = None if field is None else to_json(EDITED) | {field: value}
    path.write_text(json.dumps({"run": run, "format": FORMAT}))
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)


def test_load_config_reads_what_is_under_run(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"run": to_json(EDITED), "format": FORMAT, "python": "3.11"}))
    assert load_config(path) == EDITED


def test_differences_name_every_leaf():
    other = replace(EDITED, agent=replace(EDITED.agent, kappa=3.0), env_name="gym/CartPole-v1")
    edited = to_json(EDITED)
    assert differences(edited, to_json(other)) == [
        "agent.kappa: 6.0 -> 3.0",
        "env.name: 'gym/Pendulum-v1' -> 'gym/CartPole-v1'",
    ]
    assert differences(edited, text(EDITED)) == []  # a list of a file is a tuple
    bc = RunConfig.from_preset("bc")
    assert "agent.kappa: 6.0 -> None" in differences(edited, to_json(bc))


@pytest.mark.parametrize("version", [None, *range(1, 10)])
def test_an_earlier_format_is_refused_by_its_number_with_the_remedy(tmp_path, version):
    path = tmp_path / "config.json"
    stored = {"run": {"agent_name": "silri"}}
    path.write_text(json.dumps(stored if version is None else stored | {"format": version}))
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert str(error.value) == (
        f"{path} has format {version or 1}, written by an earlier silri; install commit f441adf "
        "to resume or evaluate it; its episodes can be used with --data.dataset RUN/episodes"
    )


@pytest.mark.parametrize("version", [FORMAT + 1, 0, "2", 10.0])
def test_a_configuration_of_a_later_format_is_refused_with_its_number(version):
    with pytest.raises(
        ConfigError, match=rf"config\.json has format {version}; .* reads {FORMAT}:"
    ):
        from_versioned({}, version, "config.json")


@pytest.mark.parametrize("config", [EDITED, RunConfig.from_preset("silri")])
def test_a_run_from_before_there_were_classifiers_is_read(config):
    data = text(config)
    del data["reward"], data["env"]["end_on_success"]
    expected = replace(config, reward=RewardConfig(refit=False))
    assert from_versioned(data, FORMAT, "config.json") == expected


def test_a_run_from_before_there_were_videos_has_none():
    data = to_json(EDITED)
    del data["evaluation"]["videos"]
    assert from_versioned(data, FORMAT, "config.json") == EDITED


def test_a_run_from_before_successes_were_imitated_goes_on_as_it_was():
    now = RunConfig.from_preset("silri")
    then = replace(now.agent, explore_least=now.agent.explore_std)  # and exploration was fixed
    alone = replace(now, agent=replace(then, failed_weight=1.0, own_weight=0.0))
    data = text(now)
    for name in ("failed_weight", "own_weight", "explore_least"):
        del data["agent"][name]
    assert from_versioned(data, FORMAT, "config.json") == alone
    # The variant that did so became the default.
    proven = text(now) | {"agent_name": "silri_proven"}
    proven["agent"] = {**data["agent"], "failed": 0.2, "own": 0.5}
    wanted = replace(now, agent=replace(then, failed_weight=0.2, own_weight=0.5))
    assert from_versioned(proven, FORMAT, "config.json") == wanted


def test_a_run_from_before_people_had_habits_is_read():
    data = text(EDITED)
    for part, names in {"skill": ("habit", "other_habit", "errs"), "gate": ("late",)}.items():
        for name in names:
            del data["operator"][part][name]
    assert from_versioned(data, FORMAT, "config.json") == EDITED
