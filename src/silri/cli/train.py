"""``silri train``: a new run, or ``--resume`` of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import tyro

from silri.api.training import check_offline, default_folder, draw_curve, local_run
from silri.cli.main import DONE, INTERRUPTED
from silri.cli.terminal.arguments import Names, parse, take_names
from silri.cli.terminal.progress import Console
from silri.cli.terminal.signals import stop_on_signal
from silri.configs.run import RunConfig
from silri.configs.serialize import differences, to_json
from silri.core.clock import MonotonicClock
from silri.core.errors import ConfigError, UsageError
from silri.core.protocols import Announced, Env, Operator
from silri.core.registry import unknown_name
from silri.envs.registry import DEFAULT_ENV, require_env
from silri.evaluation.summary import summarise
from silri.intervention.registry import DEFAULT_OPERATOR
from silri.runtime.acting.judging import with_kept_classifier
from silri.runtime.keeping.folder import RunFolder, settled
from silri.runtime.local import LocalRun
from silri.runtime.session import Interrupted
from silri.runtime.starting.backend import prepare_jax
from silri.runtime.starting.opening import open_env_and_operator

if TYPE_CHECKING:
    from silri.cli.pages import Door
    from silri.runtime.cluster.learner import Learner

RUNTIMES = ("local", "cluster")
NAMES = ("agent", "preset", "env", "operator")
DESCRIPTION = """Train an agent with an operator in the loop.

Names come first: --agent NAME (silri), --preset NAME (default), --env NAME
(metaworld/drawer-open-v3), --operator NAME (heterogeneous); 'silri list agents|envs|operators'
shows them, and module:Class is one of yours. They decide which fields there are; every field below
can then be set, e.g. --agent.kappa 3 --env.reset-range 0.03 --operator.gate.probability 0.3.
--resume FOLDER goes on with a run; only --steps may differ then.

--runtime cluster trains with --robots N simulated robots, each in processes of its own, and a
learner beside them; robots on other machines join with 'silri actor'."""


@dataclass(frozen=True)
class Arguments:
    """Flags of ``silri train`` beside the names."""

    config: Annotated[RunConfig, tyro.conf.arg(name="")]
    out: Path | None = None  # new run folder; default runs/AGENT-TASK-SEED
    resume: Path | None = None  # run folder to go on with
    robots: int = 1  # with --runtime cluster: robots on this machine


Flags = TypeVar("Flags", bound=Arguments)
Prepared = TypeVar("Prepared")


def main(arguments: list[str]) -> int:
    """Train and return the exit code."""
    taken = take_names(arguments, ("runtime",))
    runtime = taken.get("runtime", "local")
    if runtime not in RUNTIMES:
        raise unknown_name("runtime", runtime, RUNTIMES)
    prepare_jax(decides=runtime == "cluster")  # there the learner is a process of its own
    if runtime == "local":
        folder, config, _, (env, operator) = open_run(
            taken.rest, Arguments, "silri train", DESCRIPTION, _check_local, _open
        )
        return run(folder, config, env, operator)
    return _train_cluster(taken.rest)


def _train_cluster(arguments: list[str]) -> int:
    """A learner and robots, all on this machine."""
    folder, config, chosen, door = open_run(
        arguments, Arguments, "silri train", DESCRIPTION, _check_cluster, open_for_robots
    )
    from silri.cli.cluster import Ports, free_port, run_learner
    from silri.runtime.cluster.wire.security import default_token_path

    ports = Ports("127.0.0.1", free_port(), free_port())
    names = [f"robot-{number}" for number in range(1, chosen.robots + 1)]
    return run_learner(folder, config, ports, default_token_path(), names, door)


def open_for_robots(config: RunConfig, chosen: Arguments) -> Door | None:
    """What a learner holds before there is a folder: where the page of its robots comes in."""
    from silri.cli.pages import door_of

    check_offline(config)
    return door_of(config, chosen.robots)


def _check_local(chosen: Arguments) -> None:
    if chosen.robots != 1:
        raise ConfigError("--robots needs --runtime cluster")


def _check_cluster(chosen: Arguments) -> None:
    from silri.cli.cluster import check_run
    from silri.runtime.cluster.wire.security import default_token_path

    if chosen.robots < 1:
        raise ConfigError(f"--robots takes 1 or more, got {chosen.robots}")
    check_run(chosen.config, default_token_path())


def open_run(
    arguments: list[str],
    kind: type[Flags],
    prog: str,
    description: str,
    check: Callable[[Flags], None],
    prepare: Callable[[RunConfig, Flags], Prepared],
) -> tuple[RunFolder, RunConfig, Flags, Prepared]:
    """A new run, or with ``--resume`` the one that is there, and the verb's own flags.

    ``check`` and then ``prepare`` see what was asked for before anything is written; the last
    value is what ``prepare`` returned.
    """
    names = take_names(arguments, NAMES)
    resume = take_names(names.rest, ("resume",))
    if "resume" in resume.values:
        path = Path(resume.values["resume"])
        folder, stored = RunFolder.open(path)
        _check_names(path, names, stored)
        chosen = parse(
            kind, resume.rest, prog=prog, description=description, default=kind(config=stored)
        )
        check(chosen)
        _check_resumed(stored, chosen)
        here = Path.cwd()
        prepared = prepare(with_kept_classifier(chosen.config, folder.path), chosen)
        folder = RunFolder(settled(folder.path, here))
        if chosen.config.steps != stored.steps:
            folder.write_config(chosen.config)
        return folder, chosen.config, chosen, prepared
    chosen = parse(
        kind,
        names.rest,
        prog=prog,
        description=description,
        default=kind(config=preset_config(names)),
    )
    check(chosen)
    out = chosen.out or default_folder(chosen.config)
    RunFolder.check_free(out)
    here = Path.cwd()
    prepared = prepare(chosen.config, chosen)
    folder = RunFolder.create(settled(out, here), chosen.config)
    return folder, chosen.config, chosen, prepared


def run(folder: RunFolder, config: RunConfig, env: Env, operator: Operator) -> int:
    """Train in ``folder`` until done or interrupted, with a live display; closes ``env``."""

    def create(config: RunConfig, folder: RunFolder, **keywords: Any) -> LocalRun:
        return local_run(config, folder, env, operator, **keywords)

    notice = operator.announcement if isinstance(operator, Announced) else ""
    with stop_on_signal() as stop:
        return _learn(create, folder, config, stop, notice, env)


def learn_from_robots(folder: RunFolder, config: RunConfig, stop: Callable[[], bool]) -> int:
    """The learner's process of a cluster run. It opens no environment: robots tell the spec."""
    prepare_jax()
    from silri.runtime.cluster.learner import Learner
    from silri.runtime.cluster.setup import wait_for_spec

    spec = wait_for_spec(folder, stop, MonotonicClock(), print)
    if spec is None:
        return INTERRUPTED

    def create(config: RunConfig, folder: RunFolder, **keywords: Any) -> Learner:
        return Learner(config, folder, spec, summarise=summarise, **keywords)

    return _learn(create, folder, config, stop)


def _learn(
    create: Callable[..., LocalRun | Learner],
    folder: RunFolder,
    config: RunConfig,
    stop: Callable[[], bool],
    notice: str = "",
    env: Env | None = None,
) -> int:
    console = Console(config, folder.path, notice, env)
    with console:
        try:
            with folder.unless_refused():  # also by its data set, which is read in the run
                training = create(config, folder, subscribers=[console], stop=stop)
                summary = training.run()
        except Interrupted:
            console.interrupted()
            return INTERRUPTED
    draw_curve(folder)
    console.finished(summary, folder.curve)
    return DONE


def _open(config: RunConfig, chosen: Arguments) -> tuple[Env, Operator]:
    """Both, checked before there is a folder, which would be in the way then."""
    del chosen
    check_offline(config)
    return open_env_and_operator(config)


def preset_config(names: Names) -> RunConfig:
    """The configuration that the names stand for.

    Raises:
        UnknownNameError: for a name that is not there.
    """
    env = names.get("env", DEFAULT_ENV)
    require_env(env)
    return RunConfig.from_preset(
        names.get("agent", "silri"),
        names.get("preset", "default"),
        env_name=env,
        operator_name=names.get("operator", DEFAULT_OPERATOR),
    )


def _check_names(path: Path, names: Names, stored: RunConfig) -> None:
    wanted = {
        "agent": stored.agent_name,
        "preset": stored.preset,
        "env": stored.env_name,
        "operator": stored.operator_name,
    }
    for name, value in names.values.items():
        if value != wanted[name]:
            raise ConfigError(f"{path} was made with --{name} {wanted[name]}, not {value}")


def _check_resumed(stored: RunConfig, chosen: Arguments) -> None:
    """A resumed run goes on with what was stored, but for the budget."""
    if chosen.out is not None:
        raise UsageError("--out and --resume exclude each other: a resumed run stays in its folder")
    free = {name: getattr(stored.operator, name) for name in stored.operator.free}
    operator = replace(chosen.config.operator, **free)
    kept = replace(chosen.config, steps=stored.steps, operator=operator)
    changed = differences(to_json(stored), to_json(kept))
    if changed:
        raise ConfigError(f"a resumed run keeps its configuration; differing: {'; '.join(changed)}")
