"""What every page is told of all robots of its console: who drives, how well each one does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

from silri.console.desk import Desk
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
    """All robots of a console.

    Attributes:
        stations: by name, in the order that pages show.
    """

    def __init__(self, stations: Mapping[str, Station]) -> None:
        """See the class."""
        self.stations = stations

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
        """For a page."""
        robots = [{"name": name, **each.desk.status()} for name, each in self.stations.items()]
        return {"type": "robots", "robots": robots}

    async def follow(self) -> None:
        """Tell every page when something has changed; until cancelled."""
        told: dict[str, Any] | None = None
        while len(self.stations) > 1:
            message = self.message()
            if message != told:
                told = message
                for station in self.stations.values():
                    station.desk.announce(message)
            await asyncio.sleep(PERIOD_S)
