from __future__ import annotations

from dataclasses import replace

import pytest

from silri.configs.overrides import configured
from silri.configs.run import RunConfig
from silri.core.errors import ConfigError, UnknownNameError


def test_without_overrides_it_is_the_preset():
    assert configured("hil_serl", "published", []) == RunConfig.from_preset("hil_serl", "published")


def test_a_later_layer_wins_and_lists_become_tuples():
    layers = [
        ("first", {"agent": {"batch_size": 8, "utd": 2}, "operator": {"gate": {"hold": [2, 4]}}}),
        ("second", {"agent": {"batch_size": 16}, "data": {"std_floor": 1}}),
        ("third", {"runtime": {"tensorboard": False}}),
    ]
    config = configured("silri", "default", layers)
    assert (config.agent.batch_size, config.agent.utd) == (16, 2)
    assert (config.data.std_floor, type(config.data.std_floor)) == (1.0, float)
    assert config.operator.gate.hold == (2, 4)
    assert config.runtime.tensorboard is False
    assert config.env == RunConfig.from_preset("silri").env


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"agent": {"batch_sice": 8}}, "agent has no field 'batch_sice'"),
        ({"agent": {"trunk": {"hiden": [8]}}}, "agent.trunk has no field 'hiden'"),
        ({"agents": {"batch_size": 8}}, "the configuration has no field 'agents'"),
        (
            {"agent": {"batch_size": "many"}},
            "agent.batch_size takes a whole number >= 2, got 'many'",
        ),
        ({"agent": {"batch_size": -1}}, "agent.batch_size takes a whole number >= 2, got -1"),
        ({"agent": 3}, "agent takes a SiLRIConfig, got 3"),
        ({"data": {"demos": -1}}, "data.demos takes a whole number >= 0, got -1"),
        ({"agent": {"stages": {"7": {"updates": 1}}}}, r"agent.stages takes a list .* got {'7'"),
        ({"agent": {"stages": {"0": {"updates": -1}}}}, r"agent.stages\[0\].updates takes "),
    ],
)
def test_what_does_not_fit_is_named_with_its_layer_and_field(overrides, words):
    layers = [("suite", {"steps": 5}), ("row", overrides), ("cell", {"seed": 1})]
    with pytest.raises(ConfigError, match=f"^row: .*{words}"):
        configured("silri", "default", layers)


def test_an_item_of_a_list_is_named_by_its_number():
    before = RunConfig.from_preset("silri").agent.stages
    layers = [("suite", {"agent": {"stages": {"0": {"updates": 7}}}})]
    stages = configured("silri", "default", layers).agent.stages
    assert stages == (replace(before[0], updates=7), *before[1:])


def test_an_unknown_preset_lists_the_right_ones():
    with pytest.raises(UnknownNameError, match="released"):
        configured("silri", "relased", [])
