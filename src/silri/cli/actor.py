"""``silri actor``: one robot, here, for a learner that may be elsewhere."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from silri.cli.terminal.arguments import parse
from silri.core.errors import UsageError

DESCRIPTION = """Drive one robot for a learner: a control loop that keeps going whatever the
network does, and an uplink that sends what it has finished. The run's configuration comes from
the learner. What is not acknowledged yet waits in --spool and is sent when the learner is back,
or at the next start.

If the learner asks for --operator web, this machine serves the robot's page: --page-port and the
like say where."""


@dataclass(frozen=True)
class ActorArguments:
    """Flags of ``silri actor``."""

    address: str = "127.0.0.1:10001"  # HOST:PORT that 'silri learner' printed
    name: str = ""  # of this robot; default: this machine's
    spool: Path | None = None  # default ~/.silri/spool/NAME; one robot, one run, one folder
    token: Path | None = None  # file with the learner's token; default ~/.silri/token
    page_port: int = 8420  # of the robot's page, if it has one; 0: any that is free
    page_host: str = "127.0.0.1"  # that it is on; other than loopback only with page_token_file
    page_token_file: str | None = None  # with the token that pages must show; None: a new one


def main(arguments: list[str]) -> int:
    """Drive and return the exit code."""
    from silri.cli.cluster import check_name, run_robot
    from silri.cli.pages import PageFlags
    from silri.runtime.cluster.wire.security import default_token_path

    chosen: ActorArguments = parse(
        ActorArguments, arguments, prog="silri actor", description=DESCRIPTION
    )
    host, colon, port = chosen.address.rpartition(":")
    if not (host and colon and port.isdecimal() and 0 < int(port) < 65_536):
        raise UsageError(f"--address takes HOST:PORT, got {chosen.address!r}")
    if not 0 <= chosen.page_port < 65_536:
        raise UsageError(f"--page-port takes a number from 0 to 65535, got {chosen.page_port}")
    name = check_name(chosen.name or socket.gethostname().split(".")[0])
    spool = chosen.spool or Path.home() / ".silri" / "spool" / name
    page = PageFlags(chosen.page_host, chosen.page_port, chosen.page_token_file, "--page-")
    token = chosen.token or default_token_path()
    return run_robot(spool.absolute(), name, chosen.address, token, page)
