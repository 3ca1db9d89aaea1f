"""``silri record``: successful demonstrations by an operator, as a LeRobotDataset. No JAX."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from silri.cli.main import DONE, INTERRUPTED
from silri.cli.terminal.arguments import parse, take_names
from silri.cli.terminal.record_progress import RecordProgress
from silri.cli.terminal.signals import stop_on_signal
from silri.core.clock import MonotonicClock
from silri.core.commands import CommandQueue
from silri.core.errors import ConfigError, UsageError
from silri.core.events import Event, RunBegan, Subscriber
from silri.core.protocols import Announced, Env, HasPrivileged, Live, Operator
from silri.core.settings import NonNegative
from silri.envs.config import EnvConfig
from silri.envs.registry import DEFAULT_ENV, create_env, find_env, require_env
from silri.intervention.operators import OperatorConfig, OperatorContext
from silri.intervention.registry import (
    DEFAULT_OPERATOR,
    OPERATORS,
    create_operator,
    introduce_operator,
)
from silri.runtime.acting.demos import NeutralPolicy, record_demonstrations, set_aside, telling
from silri.runtime.acting.faults import FaultLog
from silri.runtime.keeping.folder import settled
from silri.runtime.pace.loop import ControlLoop
from silri.runtime.starting.checking import check_opened
from silri.runtime.starting.contract import close_env, close_operator
from silri.store.safety import files
from silri.store.safety.space import check_writable
from silri.store.store import EpisodeStore

DESCRIPTION = """Record successful demonstrations. Names come first: --env NAME, --operator NAME.
Recording into a folder that has some goes on until there are --episodes of them; train from it
with 'silri train --data.dataset FOLDER'.

A person at a device ('silri list devices') drives in real time, and a success ends the attempt.
While nobody drives, time stands still. Buttons end an attempt otherwise: success, failure, reset
(the same layout again), discard (another layout), stop."""


@dataclass(frozen=True)
class Arguments:
    """Flags of ``silri record`` beside the names."""

    env: EnvConfig  # the environment
    operator: OperatorConfig  # who demonstrates
    episodes: int = 20  # successful demonstrations in the end
    seed: int = 0  # layouts and operator derive from it
    out: Path | None = None  # dataset folder
    # also keep failed attempts, as episodes that nobody imitates; a success classifier needs them
    keep_failures: bool = False
    # steps per second, 0 as fast as possible; without: a person's, at most the environment's own,
    # and for a simulated person 0
    rate_hz: NonNegative | None = None


def main(arguments: list[str]) -> int:
    """Record and return the exit code."""
    names = take_names(arguments, ("env", "operator"))
    env_name, person = names.get("env", DEFAULT_ENV), names.get("operator", DEFAULT_OPERATOR)
    require_env(env_name)
    default = Arguments(
        env=find_env(env_name).preset().config, operator=OPERATORS.load(person).preset().config
    )
    chosen: Arguments = parse(
        Arguments, names.rest, prog="silri record", description=DESCRIPTION, default=default
    )
    if chosen.out is None:
        raise UsageError("--out FOLDER is missing: where to record to")
    if chosen.episodes < 1:
        raise ConfigError(f"--episodes takes 1 or more, got {chosen.episodes}")
    if chosen.rate_hz is not None and not chosen.rate_hz >= 0:
        raise ConfigError(f"--rate-hz takes 0 or more, got {chosen.rate_hz}")
    check_writable(chosen.out)

    def make(env: Env) -> Operator:
        return create_operator(chosen.operator, OperatorContext.of(env, person))

    here = Path.cwd()
    env, operator = check_opened(
        env_name, create_env(env_name, chosen.env), make, seed=chosen.seed, demonstrates=True
    )
    with stop_on_signal() as stop:
        try:
            print(introduce_operator(person, chosen.operator))
            print(chosen.env.describe_success())
            out = settled(chosen.out, here)
            return _record(chosen, out, person, env_name, env, operator, stop)
        finally:
            close_env(env, print)
            close_operator(operator, print)


def _record(
    chosen: Arguments,
    out: Path,
    person: str,
    env_name: str,
    env: Env,
    operator: Operator,
    stop: Callable[[], bool],
) -> int:
    live = isinstance(operator, Live)
    progress = RecordProgress(env, operator, chosen.episodes, live=live)
    rate = _rate(chosen, person, env) if live else chosen.rate_hz or 0.0
    loop = ControlLoop(
        env, NeutralPolicy(env), MonotonicClock(), rate, lambda text, _: progress.show(text)
    )
    commands = CommandQueue()
    listeners: list[Subscriber] = [progress]
    if isinstance(operator, Subscriber):
        listeners.append(operator)

    def notify(event: Event) -> None:
        for listener in listeners:
            listener.on_event(event)

    quarantine = out.with_name(out.name + ".quarantine")
    errors = out.with_name(out.name + ".errors.log")
    faults = FaultLog(env.env_spec.name, errors, progress.show)
    with EpisodeStore(out, quarantine, loop.env.env_spec) as store, progress:
        _describe(chosen, out, person, env_name, rate)
        if isinstance(operator, Announced):
            progress.show(operator.announcement)
        simulated = isinstance(env, HasPrivileged)
        notify(RunBegan(str(out), loop.env.env_spec, (), simulated, commands))
        for message in store.messages:
            progress.show(message)
        progress.have(_successes(store))
        for episode in record_demonstrations(
            loop.env,
            operator,
            person,
            count=chosen.episodes,
            seed=chosen.seed,
            known_seeds={row.seed for row in store.rows},
            first_id=store.next_episode_id,
            stop=lambda: stop() or commands.stopping,
            clock=loop.clock,
            commands=commands,
            success_reward=chosen.env.success_reward if chosen.env.sparse else None,
            end_on_success=live,
            broken=set_aside(store, faults, progress.show),
            found=_successes(store),
            keep_failures=chosen.keep_failures,
            **telling(notify),
        ):
            store.commit(episode)
            if episode.success:
                progress.kept(_successes(store), len(episode))
            else:
                progress.show(f"failed attempt kept: {len(episode)} steps")
        successes = _successes(store)
        failures = f", {len(store) - successes} failures" if len(store) > successes else ""
        progress.show(f"{successes} demonstrations{failures} in {out}")
        return INTERRUPTED if stop() else DONE  # a person's STOP is an end like any other


def _successes(store: EpisodeStore) -> int:
    return sum(row.success for row in store.rows)


def _describe(chosen: Arguments, out: Path, person: str, env_name: str, rate: float) -> None:
    """What was recorded, for ``silri console``: the fields of a run that it needs."""
    run = {
        "agent_name": "",
        "env": {"name": env_name, **dataclasses.asdict(chosen.env)},
        "operator": {"name": person},
        "runtime": {"rate_hz": rate},
        "steps": 0,
        "data": {"demos": chosen.episodes},
        "expert_run": None,
    }
    files.atomic_write(out / "recording.json", json.dumps({"run": run}, indent=2).encode())


def _rate(chosen: Arguments, person: str, env: Env) -> float:
    """Steps per second for a person: what the device's preset says, or the environment's own."""
    if chosen.rate_hz is not None:
        return chosen.rate_hz
    wanted = OPERATORS.load(person).preset().run.get("runtime", {}).get("rate_hz", 0.0)
    return min(wanted or env.env_spec.control_hz, env.env_spec.control_hz)
