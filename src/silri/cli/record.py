"""``silri record``: successful demonstrations by an operator, as a LeRobotDataset. No JAX."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from silri.cli.arguments import parse, take_names
from silri.cli.main import DONE, INTERRUPTED
from silri.cli.signals import stop_on_signal
from silri.core.errors import ConfigError, UsageError
from silri.data.store import EpisodeStore
from silri.envs.config import EnvConfig
from silri.intervention.operators import OperatorConfig
from silri.runtime.demos import record_demonstrations

DESCRIPTION = """Record successful demonstrations. Names come first: --env NAME, --operator NAME.
Recording into a folder that has some goes on until there are --episodes of them; train from it
with 'silri train --data.dataset FOLDER'."""


@dataclass(frozen=True)
class Arguments:
    """Flags of ``silri record`` beside the names."""

    env: EnvConfig = field(default_factory=EnvConfig)
    operator: OperatorConfig = field(default_factory=OperatorConfig)
    episodes: int = 20  # successful demonstrations in the end
    seed: int = 0  # layouts and operator derive from it
    out: Path | None = None  # dataset folder


def main(arguments: list[str]) -> int:
    """Record and return the exit code."""
    names = take_names(arguments, ("env", "operator"))
    default = Arguments(
        env=EnvConfig(name=names.get("env", EnvConfig().name)),
        operator=OperatorConfig(name=names.get("operator", OperatorConfig().name)),
    )
    chosen: Arguments = parse(
        Arguments, names.rest, prog="silri record", description=DESCRIPTION, default=default
    )
    if chosen.out is None:
        raise UsageError("--out FOLDER is missing: where to record to")
    if chosen.episodes < 1:
        raise ConfigError(f"--episodes takes 1 or more, got {chosen.episodes}")
    env = chosen.env.create()
    print(chosen.operator.describe())
    operator = chosen.operator.create(
        env.env_spec.action, True, max_episode_steps=env.env_spec.max_episode_steps
    )
    quarantine = chosen.out.with_name(chosen.out.name + ".quarantine")
    with stop_on_signal() as stop, EpisodeStore(chosen.out, quarantine, env.env_spec) as store:
        for message in store.messages:
            print(message)
        for episode in record_demonstrations(
            env,
            operator,
            chosen.operator.name,
            count=chosen.episodes,
            seed=chosen.seed,
            known_seeds={row.seed for row in store.rows},
            first_id=store.next_episode_id,
            stop=stop,
        ):
            store.commit(episode)
            print(f"demonstration {len(store)} of {chosen.episodes}: {len(episode)} steps")
        env.close()
        print(f"{len(store)} demonstrations in {chosen.out}")
        return INTERRUPTED if stop() else DONE
