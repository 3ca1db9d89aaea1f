"""``silri learner``: learn from robots that join with ``silri actor``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from silri.cli.train import Arguments, open_for_robots, open_run
from silri.core.errors import ConfigError, UsageError
from silri.runtime.starting.backend import prepare_jax

DESCRIPTION = """Learn from robots on this and other machines: the learner, the store's single
writer and Ray's head. Robots join with 'silri actor --address HOST:PORT --name NAME'.

The flags are those of 'silri train', --resume included. It listens on this machine alone unless
--listen names another of its addresses, such as the one in your VPN; whoever connects needs the
token in --token."""


@dataclass(frozen=True)
class LearnerArguments(Arguments):
    """Flags of ``silri learner`` beside the names."""

    robots: int = 0  # robots on this machine, simulated ones say
    listen: str = "127.0.0.1"  # address of this machine that robots connect to
    port: int = 10_001  # that robots connect to
    ray_port: int = 6_379  # Ray's own
    token: Path | None = None  # file with the token; default ~/.silri/token, made if missing


def main(arguments: list[str]) -> int:
    """Learn and return the exit code."""
    from silri.cli.cluster import Ports, run_learner
    from silri.runtime.cluster.wire.security import default_token_path

    prepare_jax(decides=True)  # the learner is a process of its own
    folder, config, chosen, door = open_run(
        arguments, LearnerArguments, "silri learner", DESCRIPTION, _check, open_for_robots
    )
    ports = Ports(chosen.listen, chosen.port, chosen.ray_port)
    names = [f"robot-{number}" for number in range(1, chosen.robots + 1)]
    token = chosen.token or default_token_path()
    return run_learner(folder, config, ports, token, names, door)


def _check(chosen: LearnerArguments) -> None:
    from silri.cli.cluster import check_run
    from silri.runtime.cluster.wire.security import check_listening, default_token_path

    if chosen.robots < 0:
        raise ConfigError(f"--robots takes 0 or more, got {chosen.robots}")
    for name, port in (("port", chosen.port), ("ray-port", chosen.ray_port)):
        if not 1_024 <= port < 65_536:
            raise UsageError(f"--{name} takes a number from 1024 to 65535, got {port}")
    if chosen.port == chosen.ray_port:
        raise UsageError(f"--port and --ray-port are both {chosen.port}; they are two ports")
    check_listening(chosen.listen)
    check_run(chosen.config, chosen.token or default_token_path())
