"""Episodes that the store has, kept at the robot for a while for whoever looks at its page.

A convenience: nothing is lost with it, and it goes first when the disk fills up.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from silri.store.safety import files

KEPT_BYTES = 200_000_000  # of all of them; the oldest go
SPARE_BYTES = 1_000_000_000  # free on the disk, or nothing is kept


class Sent:
    """The folder ``sent`` of a spool.

    Attributes:
        folder: see above; made when there is something to keep.
    """

    def __init__(self, spool: Path) -> None:
        self.folder = spool / "sent"

    def take(self, path: Path) -> None:
        """Keep an acknowledged episode, or remove it if there is no room to spare."""
        if shutil.disk_usage(path.parent).free < SPARE_BYTES:
            files.remove(path)
            self.clear()
            return
        files.make_dir(self.folder)
        files.rename(path, self.folder / path.name, durable=False)
        self._prune(KEPT_BYTES)

    def clear(self) -> None:
        """Make room."""
        self._prune(0)

    def paths(self) -> list[Path]:
        """What is here, the oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if path.name.isdecimal())

    def _prune(self, most: int) -> None:
        size = 0
        for path in reversed(self.paths()):
            size += path.stat().st_size
            if size > most:
                files.remove(path)
