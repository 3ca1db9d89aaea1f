from __future__ import annotations

import pytest

from silri.cli.terminal.arguments import take_names
from silri.core.errors import UsageError

NAMES = ("agent", "env")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--agent", "silri", "--steps", "3", "--env", "a/b", "--agent.kappa", "3"],
        ["--steps", "3", "--agent=silri", "--agent.kappa", "3", "--env=a/b"],
    ],
)
def test_names_are_taken_out_and_the_rest_keeps_its_order(arguments):
    names = take_names(arguments, NAMES)
    assert names.values == {"agent": "silri", "env": "a/b"}
    assert names.rest == ["--steps", "3", "--agent.kappa", "3"]
    assert names.get("agent", "bc") == "silri"


def test_what_is_not_given_is_the_default():
    names = take_names(["--steps", "3"], NAMES)
    assert names.values == {}
    assert names.get("agent", "bc") == "bc"


def test_a_value_may_look_like_anything_but_a_flag():
    assert take_names(["--env", "a=b"], NAMES).values == {"env": "a=b"}
    assert take_names(["--env=a=b"], NAMES).values == {"env": "a=b"}
    assert take_names(["agent", "env"], NAMES).rest == ["agent", "env"]


@pytest.mark.parametrize("arguments", [["--agent"], ["--agent", "--steps", "3"], ["--agent="]])
def test_a_name_needs_a_value(arguments):
    with pytest.raises(UsageError, match="--agent needs a value"):
        take_names(arguments, NAMES)


def test_a_name_is_given_once():
    with pytest.raises(UsageError, match="--agent is given twice: silri and bc"):
        take_names(["--agent", "silri", "--agent=bc"], NAMES)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("agent", "silri list agents"),
        ("preset", "silri list agents"),
        ("env", "silri list envs"),
        ("operator", "silri list operators"),
        ("resume", "run folder"),
    ],
)
def test_the_hint_of_a_missing_value_is_a_command_that_exists(name, hint):
    with pytest.raises(UsageError, match=hint):
        take_names([f"--{name}"], (name,))
