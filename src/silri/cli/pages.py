"""One page for the robots of this machine, served by their supervisor, who outlives their loops.

Operator ``web`` in a cluster run: the port is held and the token made here, once, so that the
page is the same one whichever process of a robot, or of the page, has died meanwhile.
"""

from __future__ import annotations

import importlib.util
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from silri.configs.run import RunConfig
from silri.core.errors import MissingExtraError
from silri.runtime.cluster.paths import SpoolPaths, read_record


class Door(NamedTuple):
    """Where pages come in.

    Attributes:
        listener: a listening socket.
        token: that pages must show.
        host: address of ``listener``.
    """

    listener: socket.socket
    token: str
    host: str


class PageFlags(NamedTuple):
    """What to serve a page with, and the names of the options that say so."""

    host: str
    port: int
    token_file: str | None
    prefix: str = "--operator."


def open_door(flags: PageFlags) -> Door:
    """Hold the port.

    Raises:
        MissingExtraError: the extra ``console`` is not installed.
        ConfigError: the port is taken, the host is not this machine's, or others can reach it and
            there is no token of your own.
    """
    from silri.console.operator import NEEDS
    from silri.console.places import listen, own_token

    if not all(map(importlib.util.find_spec, NEEDS)):
        raise MissingExtraError("console", "operator 'web'")
    token = own_token(flags.token_file, flags.host, f"{flags.prefix}token-file")
    return Door(listen(flags.host, flags.port, f"{flags.prefix}port"), token, flags.host)


def door_of(config: RunConfig, robots: int) -> Door | None:
    """For the robots on this machine, if there are any and a person in a browser drives them.

    Raises:
        SilriError: as :func:`open_door`.
    """
    if config.operator_name != "web" or not robots:
        return None
    from silri.console.operator import WebConfig

    operator = config.operator
    assert isinstance(operator, WebConfig)
    return open_door(PageFlags(operator.host, operator.port, operator.token_file))


class Pages:
    """The console of this machine's robots.

    Attributes:
        address: of the page, with its token.
    """

    def __init__(
        self,
        door: Door,
        spools: Mapping[str, Path],
        log: Path,
        core: int | None,
        *,
        heard: Path | None = None,
    ) -> None:
        """Start it.

        Args:
            door: where pages come in.
            spools: of the robots, by name.
            log: file for its output.
            core: that control loops have for themselves.
            heard: what the hub on this machine hears of all robots. None: the learner is
                elsewhere, is told of this robot, and a page's *stop* ends the robot, not the run.
        """
        from silri.console.child import Child
        from silri.console.places import address, url

        stops = "robot" if heard is None else "run"
        robots = [{"name": n, "spool": str(s), "stops": stops} for n, s in spools.items()]
        settings: dict[str, Any] = {"robots": robots, "token": door.token, "host": door.host}
        if heard is None:
            settings["address"] = address(door.listener)
        else:
            settings["heard"] = str(heard)
        self.address = url(door.listener, door.token)
        self._listener = door.listener
        self._child = Child(settings | {"core": core}, door.listener, log, _say)
        print(f"teach the {'robots' if len(spools) > 1 else 'robot'} at {self.address}", flush=True)

    def close(self) -> None:
        """End it."""
        self._child.close()
        self._listener.close()


class LatePages:
    """The page of a robot whose learner, elsewhere, says later whether there is to be one."""

    def __init__(self, flags: PageFlags, spool: Path, name: str, core: int | None) -> None:
        """Nothing yet; see :class:`Pages`."""
        self._flags, self._spool, self._name, self._core = flags, spool, name, core
        self._known = False
        self._pages: Pages | None = None

    def look(self) -> None:
        """Start the console as soon as the run's setup is here and asks for it.

        Raises:
            SilriError: as :func:`open_door`.
        """
        if self._known:
            return
        run = read_record(SpoolPaths(self._spool).setup).get("run")
        if run is None:
            return
        self._known = True
        if run["operator"]["name"] == "web":
            log, spools = self._spool / "console.log", {self._name: self._spool}
            self._pages = Pages(open_door(self._flags), spools, log, self._core)

    def close(self) -> None:
        """End it, if there is one."""
        if self._pages is not None:
            self._pages.close()


def _say(text: str, *, again: bool) -> None:
    del again
    print(text, file=sys.stderr, flush=True)
