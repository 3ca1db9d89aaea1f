"""Configuration classes: strict values, one error in our words."""

import dataclasses
import json
import math
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated, Literal

import pytest
import tyro

from silri.core.errors import ConfigError
from silri.core.settings import (
    Field,
    NonNegativeInt,
    Positive,
    PositiveInt,
    Rate01,
    Share01,
    from_plain,
    from_text,
    merged,
    settings,
)


@settings("agent.trunk")
class Trunk:
    """Layers."""

    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (256, 256)  # widths
    layer_norm: bool = True  # normalise


@settings("agent.stages")
class Stage:
    """One stage."""

    updates: NonNegativeInt = 1  # of this stage


@settings("agent")
class Config:
    """An agent's."""

    trunk: Trunk = field(default_factory=Trunk)  # layers
    learning_rate: Positive = 3e-4  # Adam
    batch_size: Annotated[int, Field(ge=2)] = 128  # rows
    share: Share01 = 0.5  # of rows
    tau: Rate01 = 0.005  # of targets
    kind: Literal["state", "scalar"] = "state"  # of the multiplier
    hold: tuple[PositiveInt, PositiveInt] = (5, 25)  # shortest and longest
    limit: PositiveInt | None = None  # steps
    budget: float | Literal["auto"] = "auto"  # a number or a word
    stages: tuple[Stage, ...] = (Stage(),)  # in order
    name: str = "x"  # free text

    def __post_init__(self):
        if self.hold[0] > self.hold[1]:
            raise ConfigError(f"agent.hold takes shortest <= longest, got {self.hold!r}")


@dataclasses.dataclass(frozen=True)
class Plain:
    """An ordinary dataclass that holds another."""

    stage: Stage = field(default_factory=Stage)  # a part
    count: int = 1  # of something


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch_size": 1}, "agent.batch_size takes a whole number >= 2, got 1"),
        ({"batch_size": "8"}, "agent.batch_size takes a whole number >= 2, got '8'"),
        ({"batch_size": True}, "agent.batch_size takes a whole number >= 2, got True"),
        ({"batch_size": 8.0}, "agent.batch_size takes a whole number >= 2, got 8.0"),
        ({"batch_size": None}, "agent.batch_size takes a whole number >= 2, got None"),
        ({"learning_rate": 0}, "agent.learning_rate takes a number > 0, got 0"),
        ({"learning_rate": math.inf}, "agent.learning_rate takes a finite number > 0, got inf"),
        ({"learning_rate": math.nan}, "agent.learning_rate takes a finite number > 0, got nan"),
        ({"share": 1.5}, "agent.share takes a number from 0 to 1, got 1.5"),
        ({"tau": 0.0}, "agent.tau takes a number > 0 and <= 1, got 0.0"),
        ({"kind": "none"}, "agent.kind takes 'state' or 'scalar', got 'none'"),
        ({"limit": 0}, "agent.limit takes a whole number >= 1, or None, got 0"),
        ({"budget": "all"}, "agent.budget takes a number or 'auto', got 'all'"),
        ({"name": 3}, "agent.name takes text, got 3"),
        ({"trunk": 3}, "agent.trunk takes a Trunk, got 3"),
        (
            {"hold": (1, 2, 3)},
            "agent.hold takes 2 values (a whole number >= 1; a whole number >= 1), got (1, 2, 3)",
        ),
        (
            {"hold": (1,)},
            "agent.hold takes 2 values (a whole number >= 1; a whole number >= 1), got (1,)",
        ),
        ({"hold": (1, 0)}, "agent.hold[1] takes a whole number >= 1, got 0"),
        ({"hold": (9, 2)}, "agent.hold takes shortest <= longest, got (9, 2)"),
        ({"batchsize": 3}, "agent has no field 'batchsize'. Did you mean 'batch_size'?"),
    ],
)
def test_a_wrong_value_is_one_error_that_names_field_value_and_remedy(fields, message):
    with pytest.raises(ConfigError) as error:
        Config(**fields)
    assert str(error.value) == message


def test_every_wrong_field_is_named():
    with pytest.raises(ConfigError, match=r"^agent\.batch_size .* got 1; agent\.tau .* got 2$"):
        Config(batch_size=1, tau=2)


def test_an_argument_without_its_name_is_named():
    with pytest.raises(ConfigError, match=r"^agent\.trunk\.layer_norm takes True or False, got 3$"):
        Trunk((8, 8), 3)


def test_a_class_of_its_own_names_its_own_section():
    with pytest.raises(ConfigError, match=r"^agent\.trunk\.hidden takes 1 or more values \(each"):
        Trunk(hidden=())
    with pytest.raises(ConfigError, match=r"^agent\.trunk\.hidden\[1\] takes a whole number"):
        Trunk(hidden=(3, 0))


def test_numbers_and_lists_widen_and_nothing_else_does():
    config = Config(learning_rate=1, hold=[2, 3])
    assert isinstance(config.learning_rate, float)
    assert config.hold == (2, 3)


def test_it_is_an_ordinary_frozen_dataclass():
    config = Config()
    assert hash(config) == hash(Config())
    assert replace(config, batch_size=2) != config
    assert dataclasses.asdict(config)["trunk"] == {"hidden": (256, 256), "layer_norm": True}
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.batch_size = 3
    with pytest.raises(ConfigError, match=r"agent\.batch_size"):
        replace(config, batch_size=0)


def test_a_subclass_narrows_a_default_and_keeps_the_checks():
    @settings("agent")
    class Other(Config):
        """With another field."""

        batch_size: Annotated[int, Field(ge=2)] = 4  # rows
        extra: Positive = 1.0  # of its own

    assert Other().batch_size == 4
    with pytest.raises(ConfigError, match=r"^agent\.extra takes a number > 0, got -1$"):
        Other(extra=-1)
    with pytest.raises(ConfigError, match="shortest <= longest"):
        Other(hold=(3, 2))


def test_plain_values_come_back_as_they_were():
    config = Config(trunk=Trunk((3,)), stages=(Stage(3), Stage(4)), limit=7)
    assert from_plain(Config, json.loads(json.dumps(dataclasses.asdict(config)))) == config


def plain(path, value):
    data = json.loads(json.dumps(dataclasses.asdict(Config())))
    *parents, last = path
    holder = data
    for parent in parents:
        holder = holder[parent]
    holder[last] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("trunk", "hidden"), [0], "agent.trunk.hidden[0] takes a whole number >= 1, got 0"),
        (("trunk", "hiden"), [0], "agent.trunk has no field 'hiden'. Did you mean 'hidden'?"),
        (("trunk",), [0], "agent.trunk takes a Trunk, got [0]"),
        (("stages", 0, "updates"), -1, "agent.stages[0].updates takes a whole number >= 0, got -1"),
        (("limit",), "3", "agent.limit takes a whole number >= 1, or None, got '3'"),
        (("batch_size",), True, "agent.batch_size takes a whole number >= 2, got True"),
    ],
)
def test_plain_values_are_checked_as_strictly_with_their_path(path, value, message):
    with pytest.raises(ConfigError) as error:
        from_plain(Config, plain(path, value))
    assert str(error.value) == message


def test_plain_values_lack_nothing():
    data = plain(("stages",), [{}])
    del data["tau"], data["trunk"]["hidden"]
    with pytest.raises(
        ConfigError,
        match=r"missing configuration field agent\.trunk\.hidden, agent\.tau, "
        r"agent\.stages\[0\]\.updates: of another version",
    ):
        from_plain(Config, data)
    with pytest.raises(ConfigError, match=r"^agent takes an object, got \[\]$"):
        from_plain(Config, [])


def test_an_ordinary_dataclass_is_read_as_strictly():
    assert from_plain(Plain, {"stage": {"updates": 2}, "count": 3}) == Plain(Stage(2), 3)
    for wrong, message in (
        ({"stage": {"updates": -2}, "count": 3}, r"^part\.stage\.updates takes"),
        ({"stage": {"updates": 2}, "count": "3"}, r"^part\.count takes a whole number, got '3'$"),
        ({"stage": {"updates": 2}, "count": 3, "x": 1}, r"^part has no field 'x'"),
        ({"stage": {"updates": 2}}, r"missing configuration field part\.count"),
    ):
        with pytest.raises(ConfigError, match=message):
            from_plain(Plain, wrong, "part")


def test_the_command_line_parses_it_like_any_dataclass():
    config = tyro.cli(
        Config,
        args=["--trunk.hidden", "8", "9", "--stages.0.updates", "7", "--learning-rate", "1"],
        default=Config(),
    )
    assert config == Config(Trunk((8, 9)), 1.0, stages=(Stage(7),))
    with pytest.raises(ConfigError, match=r"^agent\.batch_size takes a whole number >= 2, got 1$"):
        tyro.cli(Config, args=["--batch-size", "1"], default=Config())


def test_tables_are_merged_and_values_replaced():
    left = {"a": {"b": 1, "c": [1, 2]}, "d": 3}
    right = {"a": {"c": [5]}, "e": {"f": 6}}
    assert merged(left, right) == {"a": {"b": 1, "c": [5]}, "d": 3, "e": {"f": 6}}
    assert left == {"a": {"b": 1, "c": [1, 2]}, "d": 3}


def test_items_of_a_list_are_merged_by_their_numbers():
    left = {"a": [{"b": 1, "c": 2}, 3]}
    assert merged(left, {"a": {"0": {"b": 5}}}) == {"a": [{"b": 5, "c": 2}, 3]}
    assert merged(left, {"a": {"1": 4}}) == {"a": [{"b": 1, "c": 2}, 4]}
    assert merged(left, {"a": {"2": 4}}) == {"a": {"2": 4}}  # refused where it is read


@dataclasses.dataclass
class Foreign:
    """Of another library: it is not checked by itself."""

    port: str
    path: Path | None = None
    inner: Plain = dataclasses.field(default_factory=lambda: Plain(Stage(1), 1))
    fast: bool = False


def test_any_dataclass_is_read_from_texts():
    made = from_text(Foreign, {"port": "/dev/x", "path": "a/b", "fast": "true"}, "options")
    assert (made.port, made.path, made.fast) == ("/dev/x", Path("a/b"), True)
    made = from_text(Foreign, {"port": "", "inner": {"count": "4", "stage": {"updates": "2"}}}, "o")
    assert made.inner == Plain(Stage(2), 4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prt": "x"}, "options has no field 'prt'. Did you mean 'port'\\? Known: port"),
        ({"port": "x", "fast": "perhaps"}, "options.fast: .*boolean.*got 'perhaps'"),
        ({"port": "x", "inner": {"count": "x"}}, "options.inner.count: .*integer"),
        ({}, "options: .*missing 1 required positional argument: 'port'"),
    ],
)
def test_texts_that_do_not_fit_are_named(values, message):
    with pytest.raises(ConfigError, match=message):
        from_text(Foreign, values, "options")
