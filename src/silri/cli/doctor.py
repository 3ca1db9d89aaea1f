"""``silri doctor``: is this machine, environment and device fit for a run; what to do if not."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from silri.cli.main import DONE, FAILED
from silri.cli.terminal.arguments import parse, take_names
from silri.core.errors import ConfigError, SilriError
from silri.core.protocols import Env, HasPrivileged
from silri.doctor.checks import Check, Section
from silri.doctor.device import check_device
from silri.doctor.environment import check_environment
from silri.doctor.machine import check_machine
from silri.doctor.round_trip import Echo, check_round_trip
from silri.envs.config import EnvConfig
from silri.envs.registry import DEFAULT_ENV, create_env, find_env, require_env
from silri.intervention.devices.config import DeviceConfig
from silri.intervention.devices.device import Device
from silri.intervention.operators import OperatorConfig, OperatorContext
from silri.intervention.registry import OPERATORS
from silri.runtime.starting.backend import prepare_jax
from silri.runtime.starting.contract import close_env

DESCRIPTION = """Check the machine; with --env NAME an environment, with --operator NAME a device
and the whole way from it into a stored episode. The exit code is 1 if something failed.

A device is watched for --seconds while you move it; --operator.replay FILE plays recorded input
instead."""
MARKS = {"ok": "green", "warning": "yellow", "failed": "red", "skipped": "dim"}


@dataclass(frozen=True)
class Arguments:
    """Flags of ``silri doctor`` beside the names."""

    env: EnvConfig  # the environment
    operator: OperatorConfig  # the device
    out: Path = Path("runs")  # folder that runs are written to
    seconds: float = 10.0  # to watch a device for
    episodes: int = 5  # of the environment's scripted expert
    moves: bool = False  # make steps also where it is no known simulation: a robot moves
    json: bool = False  # print JSON


def main(arguments: list[str]) -> int:
    """Check, print, and return the exit code."""
    names = take_names(arguments, ("env", "operator"))
    env_name, person = names.get("env", DEFAULT_ENV), names.get("operator", "none")
    require_env(env_name)
    operator = OPERATORS.load(person)
    default = Arguments(env=find_env(env_name).preset().config, operator=operator.preset().config)
    chosen: Arguments = parse(
        Arguments, names.rest, prog="silri doctor", description=DESCRIPTION, default=default,
        flags=True,
    )  # fmt: skip
    if chosen.episodes < 1 or not chosen.seconds > 0:
        raise ConfigError("--episodes takes 1 or more and --seconds more than 0")
    prepare_jax(decides=True)
    # What an environment prints is no JSON.
    with contextlib.redirect_stdout(sys.stderr) if chosen.json else contextlib.nullcontext():
        checks = list(check_machine(chosen.out))
        if names.values:
            checks += _check_rest(chosen, env_name, person, set(names.values))
    _print(checks, as_json=chosen.json)
    return FAILED if any(check.state == "failed" for check in checks) else DONE


def _check_rest(chosen: Arguments, env_name: str, person: str, asked: set[str]) -> Iterator[Check]:
    try:
        env = create_env(env_name, chosen.env)
    except SilriError as error:
        yield Section("environment").failed("open", str(error), "")
        return
    try:
        if "env" in asked:
            moves = chosen.moves or isinstance(env, HasPrivileged)
            yield from check_environment(env, episodes=chosen.episodes, moves=moves)
        if "operator" in asked:
            yield from _check_operator(chosen, person, env)
    finally:
        close_env(env, _say)


def _check_operator(chosen: Arguments, person: str, env: Env) -> Iterator[Check]:
    target = OPERATORS.load(person).target
    config = chosen.operator
    if not (issubclass(target, Device) and isinstance(config, DeviceConfig)):
        yield Section("device").skipped(person, "is no device: nothing is plugged in")
        return
    context = OperatorContext.of(env, person)
    yield from check_device(target, config, context, env.env_spec, seconds=chosen.seconds, say=_say)
    simulated = isinstance(env, HasPrivileged)
    yield from check_round_trip(target, config, context, env if simulated else Echo(env.env_spec))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print(checks: Iterable[Check], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([check.to_json() for check in checks], indent=1))
        return
    width = None if sys.stdout.isatty() else int(os.environ.get("COLUMNS", "140"))
    console = Console(width=width, highlight=False)
    table = Table(show_edge=False, pad_edge=False)
    for column in ("", "check", "state", "found", "what to do"):
        table.add_column(column, overflow="fold")
    section = ""
    for check in checks:
        if check.section != section and section:
            table.add_section()
        shown, section = "" if check.section == section else check.section, check.section
        state = f"[{MARKS[check.state]}]{check.state}[/]"
        table.add_row(shown, check.name, state, _plain(check.value), _plain(check.remedy))
    console.print(table)


def _plain(text: str) -> str:
    return text.replace("[", "\\[")
