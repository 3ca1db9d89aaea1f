"""Every flag has a help text, in plain English. The agents' own flags are their tests' concern."""

import dataclasses
import importlib
import inspect
import re

import pytest

from silri.configs.run import DataConfig, EvaluationConfig, RunConfig, RuntimeConfig
from silri.envs.config import EnvConfig, GymConfig, MetaworldConfig
from silri.intervention.devices.config import DeviceConfig
from silri.intervention.devices.gamepad import GamepadConfig
from silri.intervention.devices.spacemouse import SpaceMouseConfig
from silri.intervention.devices.teleoperator import TeleoperatorConfig
from silri.intervention.devices.terminal import TerminalConfig
from silri.intervention.gate import GateConfig
from silri.intervention.operators import OperatorConfig, SimulatedConfig
from silri.intervention.skill import SkillConfig

VERBS = ("train", "learner", "actor", "record", "eval", "bench", "plot", "diagnose", "doctor")
CONFIGS = (
    *(RunConfig, DataConfig, EvaluationConfig, RuntimeConfig),
    *(EnvConfig, GymConfig, MetaworldConfig),
    *(GateConfig, OperatorConfig, SimulatedConfig, SkillConfig),
    *(DeviceConfig, GamepadConfig, SpaceMouseConfig, TeleoperatorConfig, TerminalConfig),
)
MODULES = [importlib.import_module(f"silri.cli.{verb}") for verb in VERBS]
FLAGS = [
    value
    for module in MODULES
    for value in vars(module).values()
    if dataclasses.is_dataclass(value) and value.__module__ == module.__name__
    if isinstance(value, type) and value.__name__.endswith("Arguments")
]
MARKUP = re.compile(r":\w+:|`|\bT\d|\bT#|~silri|design\.md")  # reST, and names of other documents


def comments(kind):
    """Field to its comment, behind it or in the lines above it, as the command line reads it."""
    found, above = {}, []
    names = {field.name for field in dataclasses.fields(kind)}
    for line in inspect.getsource(kind).splitlines():
        code, _, behind = line.strip().partition("#")
        name = code.partition(":")[0].strip()
        if not code:
            above.append(behind.strip())
            continue
        if name in names and ":" in code:
            found[name] = behind.strip() or " ".join(above).strip()
        above = []
    return found


@pytest.mark.parametrize("kind", [*CONFIGS, *FLAGS], ids=lambda kind: kind.__qualname__)
def test_every_flag_says_what_it_is(kind):
    silent = {"config", "agent_name", "preset", "env_name", "operator_name"}
    for name, text in comments(kind).items():
        assert text or name in silent, f"{name} has no help text"
        assert not MARKUP.findall(text), f"{name}: {text}"
    if kind in CONFIGS:  # those of a verb's flags are not shown: its description is
        assert not MARKUP.findall(inspect.getdoc(kind).partition("\n\n")[0])


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_descriptions_have_no_markup(module):
    assert not MARKUP.findall(getattr(module, "DESCRIPTION", ""))


def test_the_check_sees():
    found = comments(GateConfig)
    assert found["hold"] == "shortest and longest hold, steps"
    assert set(found) == {field.name for field in dataclasses.fields(GateConfig)}
    assert MARKUP.findall("The fields are :class:`~silri.x`") != []


def test_the_page_shows_the_texts_of_what_was_chosen(silri):
    assert silri("record", "--env", "gym/Pendulum-v1", "--help") == 0
    page = " ".join(silri.out.split())
    assert "--operator.gate.hold" in page
    assert "shortest and longest hold, steps" in page
    assert "indices of the action dimensions that are grippers" in page
    assert "--env.reset-range" not in page
    assert not MARKUP.findall(page)
