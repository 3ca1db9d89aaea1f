"""``silri train``: a new run, or ``--resume`` of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import tyro

from silri.cli.arguments import Names, parse, take_names
from silri.cli.main import DONE, INTERRUPTED
from silri.cli.progress import Console
from silri.cli.signals import stop_on_signal
from silri.configs.run import RunConfig
from silri.configs.serialize import differences
from silri.core.errors import ConfigError, UsageError
from silri.core.registry import unknown_name
from silri.envs.config import EnvConfig
from silri.evaluation.curves import read_run
from silri.evaluation.evaluate import evaluate, mean_actor
from silri.evaluation.plots import plot_learning_curves
from silri.evaluation.summary import summarise
from silri.intervention.operators import OperatorConfig
from silri.nn.normalizer import require_vectors
from silri.runtime.backend import prepare_jax
from silri.runtime.folder import RunFolder
from silri.runtime.local import LocalRun
from silri.runtime.prepare import make_operator
from silri.runtime.session import Interrupted

if TYPE_CHECKING:
    from silri.runtime.cluster.learner import Learner

RUNTIMES = ("local", "cluster")
NAMES = ("agent", "preset", "env", "operator")
DESCRIPTION = """Train an agent with an operator in the loop.

Names come first: --agent NAME (silri), --preset NAME (default), --env NAME
(metaworld/drawer-open-v3), --operator NAME (heterogeneous); 'silri list agents|envs|operators'
shows them. Every field below can then be set, e.g. --agent.kappa 3 --env.reset-range 0.03.
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


def main(arguments: list[str]) -> int:
    """Train and return the exit code."""
    taken = take_names(arguments, ("runtime",))
    runtime = taken.get("runtime", "local")
    if runtime not in RUNTIMES:
        raise unknown_name("runtime", runtime, RUNTIMES)
    prepare_jax(decides=runtime == "cluster")  # there the learner is a process of its own
    check = _check_local if runtime == "local" else _check_cluster
    folder, config, chosen = open_run(taken.rest, Arguments, "silri train", DESCRIPTION, check)
    if runtime == "local":
        return run(folder, config)
    from silri.cli.cluster import Ports, free_port, run_learner
    from silri.runtime.cluster.security import default_token_path

    ports = Ports("127.0.0.1", free_port(), free_port())
    names = [f"robot-{number}" for number in range(1, chosen.robots + 1)]
    return run_learner(folder, config, ports, default_token_path(), names)


def _check_local(chosen: Arguments) -> None:
    if chosen.robots != 1:
        raise ConfigError("--robots needs --runtime cluster")


def _check_cluster(chosen: Arguments) -> None:
    from silri.cli.cluster import check_run
    from silri.runtime.cluster.security import default_token_path

    if chosen.robots < 1:
        raise ConfigError(f"--robots takes 1 or more, got {chosen.robots}")
    check_run(chosen.config, default_token_path())


def open_run(
    arguments: list[str],
    kind: type[Flags],
    prog: str,
    description: str,
    check: Callable[[Flags], None],
) -> tuple[RunFolder, RunConfig, Flags]:
    """A new run, or with ``--resume`` the one that is there, and the verb's own flags.

    ``check`` sees the flags before anything is written.
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
        return folder, _resumed(folder, stored, chosen), chosen
    chosen = parse(
        kind,
        names.rest,
        prog=prog,
        description=description,
        default=kind(config=preset_config(names)),
    )
    check(chosen)
    _check(chosen.config)
    out = chosen.out or _default_folder(chosen.config)
    return RunFolder.create(out, chosen.config), chosen.config, chosen


def run(folder: RunFolder, config: RunConfig) -> int:
    """Train in ``folder`` until done or interrupted, with a live display."""
    with stop_on_signal() as stop:
        return _learn(LocalRun, folder, config, stop)


def learn_from_robots(folder: RunFolder, config: RunConfig, stop: Callable[[], bool]) -> int:
    """The learner's process of a cluster run."""
    prepare_jax()
    from silri.runtime.cluster.learner import Learner

    def create(config: RunConfig, folder: RunFolder, **keywords: Any) -> Learner:
        env = config.env.create()
        env.close()
        return Learner(config, folder, env.env_spec, **keywords)

    return _learn(create, folder, config, stop)


def _learn(
    create: Callable[..., LocalRun | Learner],
    folder: RunFolder,
    config: RunConfig,
    stop: Callable[[], bool],
) -> int:
    evaluation_env, layouts = config.env.create(), config.evaluation
    console = Console(config, folder.path)
    with console:
        training = create(
            config,
            folder,
            evaluate=lambda agent: evaluate(
                evaluation_env, mean_actor(agent), layouts.episodes, layouts.first_layout
            ).metrics(),
            summarise=summarise,
            subscribers=[console],
            stop=stop,
        )
        try:
            summary = training.run()
        except Interrupted:
            console.interrupted()
            return INTERRUPTED
        finally:
            evaluation_env.close()
    plot_learning_curves([read_run(folder.path)], folder.curve)
    console.finished(summary, folder.curve)
    return DONE


def _check(config: RunConfig) -> None:
    """What can be known to be wrong before there is a folder, which would be in the way then."""
    env = config.env.create()
    demonstrates = config.data.dataset is None and config.data.demos > 0
    make_operator(config, env, demonstrating=demonstrates)
    require_vectors(env.env_spec)
    env.close()
    if config.data.dataset is not None and not Path(config.data.dataset).is_dir():
        raise ConfigError(f"data.dataset: there is no folder {config.data.dataset}")


def preset_config(names: Names) -> RunConfig:
    """The configuration that the names stand for.

    Raises:
        UnknownNameError: for a name that is not there.
    """
    return RunConfig.from_preset(
        names.get("agent", "silri"),
        names.get("preset", "default"),
        env=EnvConfig(name=names.get("env", EnvConfig().name)),
        operator=OperatorConfig(name=names.get("operator", OperatorConfig().name)),
    )


def _check_names(path: Path, names: Names, stored: RunConfig) -> None:
    wanted = {
        "agent": stored.agent_name,
        "preset": stored.preset,
        "env": stored.env.name,
        "operator": stored.operator.name,
    }
    for name, value in names.values.items():
        if value != wanted[name]:
            raise ConfigError(f"{path} was made with --{name} {wanted[name]}, not {value}")


def _resumed(folder: RunFolder, stored: RunConfig, chosen: Arguments) -> RunConfig:
    """The configuration to go on with: the stored one, but for the budget."""
    if chosen.out is not None:
        raise UsageError("--out and --resume exclude each other: a resumed run stays in its folder")
    changed = differences(stored, replace(chosen.config, steps=stored.steps))
    if changed:
        raise ConfigError(f"a resumed run keeps its configuration; differing: {'; '.join(changed)}")
    if chosen.config.steps != stored.steps:
        folder.write_config(chosen.config)
    return chosen.config


def _default_folder(config: RunConfig) -> Path:
    agent = (
        config.agent_name if config.preset == "default" else f"{config.agent_name}-{config.preset}"
    )
    return Path("runs") / f"{agent}_{config.env.name.replace('/', '-')}_s{config.seed}"
