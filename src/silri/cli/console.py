"""``silri console RUN``: look at a run in the browser, episode by episode."""

from __future__ import annotations

import asyncio
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from silri.cli.main import DONE
from silri.cli.terminal.arguments import parse
from silri.cli.terminal.signals import stop_on_signal
from silri.core.errors import MissingExtraError

DESCRIPTION = """Look at a run in the browser: every stored episode with its pictures and what the
agent thought, its curves, and a map of where it has been. The run may still be going on."""


@dataclass(frozen=True)
class Arguments:
    """Flags of ``silri console``."""

    run: Annotated[Path, tyro.conf.Positional]  # run folder
    port: int = 8420  # of the page; 0: any that is free
    host: str = "127.0.0.1"  # address to listen on; other than loopback only with --token-file
    token_file: str | None = None  # file with the token that pages must show; None: a new one
    # whether to draw a simulation by running it again; auto: if it is surely a simulation
    scene: Literal["auto", "always", "never"] = "auto"


def main(arguments: list[str]) -> int:
    """Serve until Ctrl-C."""
    chosen: Arguments = parse(Arguments, arguments, prog="silri console", description=DESCRIPTION)
    from silri.console.operator import NEEDS

    if not all(map(importlib.util.find_spec, NEEDS)):
        raise MissingExtraError("console", "'silri console'")
    from silri.console.places import listen, own_token, url
    from silri.console.server import serve_replay
    from silri.console.stored.replay import Replay

    replay = Replay(chosen.run, chosen.scene)
    token = own_token(chosen.token_file, chosen.host, option="--token-file")
    listener = listen(chosen.host, chosen.port, "--port")
    print(f"{chosen.run} is at {url(listener, token)} (Ctrl-C ends it)", flush=True)
    with stop_on_signal() as stop:
        asyncio.run(serve_replay(replay, listener, token, chosen.host, stop))
    return DONE
