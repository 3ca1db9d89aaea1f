"""Training in one process: what ``silri train`` and :func:`silri.train` share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from silri.api.environments import given_again, make_env, name_and_config
from silri.api.episodes import Episodes, read_episodes
from silri.api.policies import Policy, load
from silri.configs.overrides import configured
from silri.configs.run import RunConfig
from silri.core.commands import CommandQueue
from silri.core.errors import ConfigError, UsageError
from silri.core.events import Event, Subscriber
from silri.core.protocols import Env, Operator
from silri.envs.registry import DEFAULT_ENV, is_object, require_env
from silri.evaluation.curves import read_run
from silri.evaluation.evaluate import evaluation_of
from silri.evaluation.plots import plot_learning_curves
from silri.evaluation.summary import summarise
from silri.intervention.registry import DEFAULT_OPERATOR
from silri.runtime.acting.judging import with_kept_classifier
from silri.runtime.keeping.folder import RunFolder, settled
from silri.runtime.local import LocalRun
from silri.runtime.session import Interrupted
from silri.runtime.starting.backend import prepare_jax
from silri.runtime.starting.opening import open_env_and_operator

Named = str | Mapping[str, Any]  # a name, or {"name": ..., field: value, ...}


@dataclass(frozen=True)
class Run:
    """A run that was trained.

    Attributes:
        folder: where all of it is.
        summary: as in ``summary.json``: ``success_rate``, ``env_steps``, ``intervention_rate``, ...
            ``completed`` is False if it was stopped; ``silri.train(resume=run.folder)`` goes on.
    """

    folder: Path
    summary: Mapping[str, Any]

    @property
    def policy(self) -> Policy:
        """What it has learned; see :func:`silri.load`."""
        return load(self.folder)

    @property
    def episodes(self) -> Episodes:
        """What it has stored; see :func:`silri.read_episodes`."""
        return read_episodes(self.folder)


def train(
    agent: Named | None = None,
    env: Any = None,
    operator: Named | None = None,
    *,
    preset: str | None = None,
    steps: int | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    subscribers: Sequence[Subscriber | Callable[[Event], None]] = (),
    stop: Callable[[], bool] = lambda: False,
    commands: CommandQueue | None = None,
    **sections: Any,
) -> Run:
    """Train a policy with an operator in the loop; the command ``silri train`` as a function.

    Args:
        agent: ``"silri"`` (the default) or another of ``silri list agents``; with settings
            ``{"name": "silri", "kappa": 3.0}``.
        env: a name (default ``metaworld/drawer-open-v3``), a dictionary as for ``agent``, or an
            environment object: a ``gymnasium.Env``, or what :func:`silri.make_env` made with
            settings. An object is trained and evaluated in, the latter between episodes, and is
            not closed; to go on with such a run, give the object again.
        operator: ``"heterogeneous"`` (the default) or another of ``silri list operators``.
        preset: of the agent.
        steps: environment steps; with ``resume`` it may be more than before.
        seed: every random draw derives from it.
        out: the new run folder; None: ``runs/AGENT_ENV_sSEED``.
        resume: a run folder to go on with. Only ``env`` (an object), ``steps``, ``subscribers``,
            ``stop`` and ``commands`` may be given with it.
        subscribers: told of every event (:mod:`silri.core.events`): objects with ``on_event``, or
            functions of the event.
        stop: asked before every step; True saves and returns.
        commands: for commands to the running robot (:mod:`silri.core.commands`).
        **sections: further settings by section, as in ``config.json``:
            ``data={"demos": 5}``, ``evaluation={"every": 500}``, ``env={"name": ..., ...}``.

    Raises:
        UsageError: a name, a value or a combination that cannot be, before anything is written.
        EnvironmentFault: the environment failed in ten episodes in a row; what is finished is safe.

    Example::

        run = silri.train(env="metaworld/drawer-open-v3", steps=3000, out="runs/mine")
        print(run.summary["success_rate"])
        action = run.policy(observation)
    """
    told = _checked_calls(subscribers, stop)
    prepare_jax()
    folder: RunFolder | None = None
    if resume is not None:
        given = {"agent": agent, "operator": operator, "preset": preset, "seed": seed, "out": out}
        if odd := [name for name, value in {**given, **sections}.items() if value is not None]:
            raise UsageError(f"a resumed run keeps its configuration; it takes no {', '.join(odd)}")
        folder, config, opened = _resumed(Path(resume).expanduser(), env, steps)
    else:
        named = (agent or "silri", env or DEFAULT_ENV, operator or DEFAULT_OPERATOR)
        fields = {"steps": steps, "seed": seed}
        config, opened = _config(*named, preset or "default", fields, sections)
    check_offline(config)
    target = Path(out).expanduser() if out is not None else default_folder(config)
    if folder is None:
        RunFolder.check_free(target)
    kept = config if folder is None else with_kept_classifier(config, folder.path)
    here = Path.cwd()
    live, person = open_env_and_operator(kept, opened)
    if folder is None:
        folder = RunFolder.create(settled(target, here), config)
    else:
        folder = RunFolder(settled(folder.path, here))
    keywords = {"stop": stop, "commands": commands, "keep_env": opened is not None}
    return _trained(config, folder, live, person, subscribers=told, **keywords)


def _trained(
    config: RunConfig, folder: RunFolder, live: Env, person: Operator, **keywords: Any
) -> Run:
    """The run, made or gone on with, to its end or to where it was stopped."""
    run: LocalRun | None = None
    try:
        with folder.unless_refused():  # also by its data set, which is read in the run
            run = local_run(config, folder, live, person, **keywords)
            summary = run.run()
    except Interrupted:
        assert run is not None
        return Run(folder.path, summarise(config, run.state))
    draw_curve(folder)
    return Run(folder.path, summary)


def local_run(
    config: RunConfig, folder: RunFolder, env: Env, operator: Operator, **keywords: Any
) -> LocalRun:
    """A run in one process that is evaluated and summarised as all are."""
    measure = evaluation_of(config.evaluation)
    return LocalRun(
        config, folder, env, operator, evaluate=measure, summarise=summarise, **keywords
    )


def draw_curve(folder: RunFolder) -> None:
    """``curve.png`` of a run."""
    plot_learning_curves([read_run(folder.path)], folder.curve)


def check_offline(config: RunConfig) -> None:
    """What can be known to be wrong without an environment.

    Raises:
        ConfigError: the data set is not there, or nobody can demonstrate.
    """
    if config.data.dataset is not None and not Path(config.data.dataset).is_dir():
        raise ConfigError(f"data.dataset: there is no folder {config.data.dataset}")
    if config.data.dataset is None and config.data.demos and config.operator_name == "none":
        raise ConfigError(
            f"operator 'none' cannot demonstrate, and data.demos is {config.data.demos}; choose "
            "another operator, or --data.demos 0"
        )


def default_folder(config: RunConfig) -> Path:
    """Where a run goes that is told nothing else."""
    agent = (
        config.agent_name if config.preset == "default" else f"{config.agent_name}-{config.preset}"
    )
    return Path("runs") / f"{agent}_{config.env_name.replace('/', '-')}_s{config.seed}"


class _Function:
    """A function that is told of events."""

    def __init__(self, function: Callable[[Event], None]) -> None:
        self.on_event = function


def _checked_calls(subscribers: Any, stop: Any) -> list[Subscriber]:
    """What is told of events, before anything else is done.

    Raises:
        UsageError: it, or ``stop``, cannot be called.
    """
    if not callable(stop):
        raise UsageError(f"stop takes a function that gives True or False, got {stop!r}")
    if not isinstance(subscribers, Sequence):
        raise UsageError(f"subscribers takes a list, got {subscribers!r}")
    for each in subscribers:
        if not (callable(each) or hasattr(each, "on_event")):
            raise UsageError(f"subscribers takes functions, or objects with on_event, got {each!r}")
    return [_subscriber(each) for each in subscribers]


def _subscriber(given: Any) -> Subscriber:
    """An object with ``on_event``, as it is or made of a function."""
    made: Subscriber = given if hasattr(given, "on_event") else _Function(given)
    return made


def _config(
    agent: Named,
    env: Any,
    operator: Named,
    preset: str,
    fields: Mapping[str, Any],
    sections: Mapping[str, Any],
) -> tuple[RunConfig, Env | None]:
    """The configuration of a new run, and its environment if that is an object."""
    layer = {name: _plain(value) for name, value in sections.items()}
    layer |= {name: value for name, value in fields.items() if value is not None}
    opened = None
    if not isinstance(env, str | Mapping):
        opened = make_env(env)
        name, config = name_and_config(opened)
        env = {"name": name, **dataclasses.asdict(config)}
    chosen = {"agent": _named(agent, "agent"), "env": _named(env, "env")}
    chosen["operator"] = _named(operator, "operator")
    if opened is None:
        require_env(chosen["env"]["name"])
    agent_name = chosen["agent"].pop("name")
    return configured(agent_name, preset, [("silri.train", {**layer, **chosen})]), opened


def _resumed(path: Path, env: Any, steps: int | None) -> tuple[RunFolder, RunConfig, Env | None]:
    """The run at ``path``, and its environment if that is an object."""
    folder, config = RunFolder.open(path)
    opened = None
    if is_object(config.env_name):
        opened = given_again(env, config.env_name, config.env)
    elif env is not None and env != config.env_name:
        raise ConfigError(f"{path} was made with env {config.env_name}, not {env}")
    if steps is not None and steps != config.steps:
        config = replace(config, steps=steps)
        folder.write_config(config)
    return folder, config, opened


def _named(value: Any, what: str) -> dict[str, Any]:
    """A name, and fields of it, as a dictionary of plain values."""
    if isinstance(value, str):
        return {"name": value}
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise UsageError(f"{what} takes a name or a dictionary with a 'name', got {value!r}")
    return {name: _plain(item) for name, item in value.items()}


def _plain(value: Any) -> Any:
    """Configuration objects as dictionaries; anything else as it is."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value
