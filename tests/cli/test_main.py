from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

import silri as package
from silri.agents.registry import AGENTS, load_agent
from silri.cli import main as command
from silri.core import errors
from silri.core.errors import ConfigError
from silri.intervention.devices import listing
from silri.intervention.devices.listing import Found
from silri.intervention.registry import OPERATORS
from tests.store.scenarios import fill


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_help_names_every_verb(silri, arguments):
    assert silri(*arguments) == 0
    for verb in command.VERBS:
        assert f"\n  {verb} " in silri.out


def test_version(silri):
    assert silri("--version") == 0
    assert silri.out.strip() == package.__version__


@pytest.mark.parametrize("verb", list(command.VERBS))
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_verb_has_help(silri, verb, flag):
    assert silri(verb, flag) == 0
    assert f"silri {verb}" in silri.out


@pytest.mark.parametrize(
    ("arguments", "flags"),
    [
        (["train"], ["--agent.kappa", "--env.reset-range", "--steps", "--out", "--resume"]),
        (["train", "--agent", "hil_serl"], ["--agent.state-ensemble", "--agent.bc-weight"]),
        (["eval"], ["--episodes", "--sampled", "--json"]),
        (["record"], ["--operator.skill.jitter", "--out"]),
    ],
)
def test_help_shows_the_flags_of_what_is_named(silri, arguments, flags):
    assert silri(*arguments, "--help") == 0
    for flag in flags:
        assert flag in silri.out


def test_an_unknown_verb_names_the_nearest(silri):
    assert silri("trian") == command.USAGE == 2
    assert "unknown verb 'trian'. Did you mean 'train'? Known: train, eval" in silri.err
    assert silri.out == ""


def verb_that_raises(monkeypatch, error):
    def main(arguments):
        raise error

    module = types.ModuleType("silri.cli.plot")
    module.main = main
    monkeypatch.setitem(sys.modules, "silri.cli.plot", module)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("u"), 2),
        (errors.ConfigError("c"), 2),
        (errors.UnknownNameError("n"), 2),
        (errors.MissingExtraError("cluster", "silri learner"), 2),
        (errors.RunFolderError("r"), 2),
        (errors.DataError("d"), 1),
        (errors.CheckpointError("k"), 1),
        (errors.EnvironmentFault("e"), 1),
        (errors.SpecError("s"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(silri, monkeypatch, error, code):
    verb_that_raises(monkeypatch, error)
    assert silri("plot") == code
    assert silri.err == ("" if code == 130 else f"silri plot: {error}\n")  # no traceback


def test_a_bug_is_not_dressed_up(silri, monkeypatch):
    verb_that_raises(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        silri("plot")


def test_too_little_memory_is_one_line(silri, monkeypatch):
    verb_that_raises(monkeypatch, MemoryError("Unable to allocate 72.8 TiB"))
    assert silri("plot") == 1
    assert silri.err.startswith("silri plot: there is not enough memory (Unable to allocate 72.8")


@pytest.mark.parametrize("buffer", ["", "1"])
@pytest.mark.parametrize("arguments", [["--help"], ["list", "operators"], ["data", "--help"]])
def test_whoever_has_read_enough_is_told_no_more(arguments, buffer):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as broken:
        done = told(arguments, broken, PYTHONUNBUFFERED=buffer)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("buffer", ["", "1"])
def test_what_must_not_end_quietly_says_that_nothing_can_be_printed(buffer):
    with Path("/dev/full").open("wb") as full:
        done = told(["list", "operators"], full, PYTHONUNBUFFERED=buffer)
    line = b"silri list: nothing more can be printed (No space left on device)\n"
    assert (done.returncode, done.stderr) == (1, line)


def told(arguments, to, **environment):
    command = [sys.executable, "-m", "silri.cli.main", *arguments]
    variables = os.environ | environment
    return subprocess.run(command, stdout=to, stderr=subprocess.PIPE, env=variables, check=False)


def test_a_name_that_the_terminal_cannot_show_is_shown_in_ascii(tmp_path):
    fill(tmp_path / "ü", 1)
    done = told(["data", "check", str(tmp_path / "ü")], subprocess.PIPE, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\xfc/episodes is sound" in done.stdout


@pytest.mark.parametrize("flag", [["--out=~/x"], ["--out", "~/x"], ["~/x"]])
def test_the_home_folder_is_where_it_should_be(silri, monkeypatch, flag, tmp_path):
    taken = []
    module = types.ModuleType("silri.cli.plot")
    module.main = lambda arguments: taken.extend(arguments) or 0
    monkeypatch.setitem(sys.modules, "silri.cli.plot", module)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert silri("plot", *flag) == 0
    assert taken[-1].endswith(str(tmp_path / "x"))


# -- list ------------------------------------------------------------------------------------------


def test_list_agents_with_their_presets(silri):
    assert silri("list", "agents") == 0
    names = {line.split("  ")[0].strip() for line in silri.out.splitlines() if line[0] != " "}
    assert names == set(AGENTS.names())
    for preset in load_agent("silri").presets:
        assert f"--preset {preset} " in silri.out


def test_list_envs_and_operators(silri):
    assert silri("list", "envs") == 0
    assert silri.out.count("metaworld/") == 50
    assert silri("list", "operators") == 0
    assert "heterogeneous" in silri.out
    assert "\nnone" in silri.out


def test_list_devices_says_of_each_why_it_cannot_be_used(silri, monkeypatch):
    def finder(target, what):
        def find():
            if "gamepad" in target:
                raise ConfigError("no permission:\nplug it in")
            return [Found("spacemouse", True, "ready")]

        return find

    monkeypatch.setattr(listing, "load_attribute", finder)
    assert silri("list", "devices") == 0
    assert "gamepad     no permission:\n            plug it in\n" in silri.out
    assert "spacemouse  ready" in silri.out


def test_list_devices_looks_for_every_device(silri):
    """On this machine, whatever it has."""
    assert silri("list", "devices") == 0
    named = {line.split("  ")[0] for line in silri.out.splitlines() if line[0] != " "}
    assert named == set(listing.FINDERS)
    assert set(listing.FINDERS) <= set(OPERATORS.names())


@pytest.mark.parametrize("arguments", [[], ["agents", "envs"]])
def test_list_wants_one_table(silri, arguments):
    assert silri("list", *arguments) == 2
    assert "agents|envs|operators|devices|encoders" in silri.err


def test_list_names_the_nearest_table(silri):
    assert silri("list", "agent") == 2
    assert "Did you mean 'agents'" in silri.err
