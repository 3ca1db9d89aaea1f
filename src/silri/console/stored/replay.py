"""A console for a run that is over, or that belongs to somebody else: to look, not to drive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from silri.console.drawing.mirror import Mirror
from silri.console.feed import hello_of
from silri.console.narrate import cameras_of
from silri.console.stored.archive import Archive
from silri.console.stored.curves import Curves
from silri.console.stored.record import RunRecord
from silri.core.errors import RunFolderError, SilriError


class Replay:
    """What a page needs of a run's folder.

    Attributes:
        archive: of the run.
    """

    def __init__(self, folder: Path, scene: str) -> None:
        """Look at a run.

        Args:
            folder: of the run.
            scene: ``always``, ``never``, or ``auto``: draw it if it is surely a simulation.

        Raises:
            RunFolderError: it is no run folder, or no episode is stored yet.
            ConfigError, DataError: it does not fit this version, or is damaged.
        """
        record = RunRecord.read(folder)
        drawn = record.surely_simulated if scene == "auto" else scene == "always"
        opens = (lambda: Mirror.of(record.env, record.env_config)) if drawn else None
        self.archive = Archive(record, record.spec(), opens)
        self._drawn = drawn
        if not self.archive.library.entries():
            raise RunFolderError(f"{folder} holds no episode yet; there is nothing to look at")

    def hello(self) -> tuple[dict[str, Any], str]:
        """What a page is told first, and why there is no scene, if so; on the archive's thread."""
        archive = self.archive
        entries, view, why = archive.library.entries(), None, ""
        if self._drawn:
            try:
                archive.frame(entries[0].episode_id, 0, 0)
                view = archive.view
            except SilriError as error:
                why = str(error)
        spec = archive.spec
        names = sorted({n for e in entries[-1:] for n in archive.read(e.episode_id).diagnostics})
        cameras = cameras_of(spec, drawn=self._drawn)
        hello = hello_of(archive.record, spec, "replay", cameras, names)
        if view is not None:
            hello["view"] = {"scene": view}
        return hello, why

    def points(self) -> list[dict[str, Any]]:
        """The curves as they are now."""
        return Curves.of(self.archive.record, self.archive.library.entries()).points
