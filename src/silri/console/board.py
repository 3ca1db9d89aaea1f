"""What every page is told of all robots of its console: who drives, how well each one does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

from silri.console.desk import Desk
from silri.console.elsewhere import Elsewhere
from silri.console.stored.archive import Archive
from silri.core.errors import DataError

PERIOD_S = 0.25  # between two looks; pages are told when something has changed


class Station(Protocol):
    """One robot of a console.

    Attributes:
        desk: of the pages that show it.
        archive: of its stored episodes; None while it is not known.
    """

    desk: Desk
    archive: Archive | None


class Board:
    """All robots of a console, and what is heard of the run's others.

    Attributes:
        stations: by name, in the order that pages show.
        elsewhere: robots on other machines; None: there are none.
    """

    def __init__(self, stations: Mapping[str, Station], elsewhere: Elsewhere | None = None) -> None:
        """See the class."""
        self.stations, self.elsewhere = stations, elsewhere

    def find(self, name: str | None) -> Station:
        """The robot of this name; without one the first.

        Raises:
            DataError: there is none.
        """
        if name is None:
            return next(iter(self.stations.values()))
        if name not in self.stations:
            raise DataError(
                f"there is no robot {name[:40]!r} here; there is {', '.join(self.stations)}"
            )
        return self.stations[name]

    def message(self) -> dict[str, Any]:
        """For a page: its own robots first."""
        robots = [{"name": name, **each.desk.status()} for name, each in self.stations.items()]
        if self.elsewhere is not None:
            robots += self.elsewhere.robots(self.stations)
        return {"type": "robots", "robots": robots}

    def first(self) -> dict[str, Any] | None:
        """For a page that comes; None if there is one robot, which needs no name."""
        message = self.message()
        return message if len(message["robots"]) > 1 else None

    async def follow(self) -> None:
        """Tell every page when something has changed; until cancelled."""
        told: dict[str, Any] | None = None
        while len(self.stations) > 1 or self.elsewhere is not None:
            message = self.message()
            several = len(message["robots"]) > 1 or told is not None
            if several and message != told:
                told = message
                for station in self.stations.values():
                    station.desk.announce(message)
            await asyncio.sleep(PERIOD_S)
