"""Episodes that an environment or an operator broke: where their tracebacks go, when to give up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from silri.core.errors import EnvironmentFault
from silri.runtime.acting.rollout import Outcome

FAULTS_IN_A_ROW = 10  # an environment that fails more often is broken, not unlucky


class FaultLog:
    """Of one environment.

    Attributes:
        in_a_row: episodes that failed since the last one that did not.
        last: the reason of the last one that failed.
    """

    def __init__(self, name: str, path: Path | None, notify: Callable[[str], None]) -> None:
        """Begin with none.

        Args:
            name: of the environment.
            path: file that tracebacks are appended to; made with the first one. None: nowhere.
            notify: told if that file cannot be written.
        """
        self.in_a_row, self.last = 0, ""
        self._name, self._path, self._notify = name, path, notify

    def note(self, episode: str, outcome: Outcome) -> None:
        """One more episode has ended; ``episode`` says which."""
        self.in_a_row = self.in_a_row + 1 if outcome.end == "fault" else 0
        self.keep(episode, outcome.reason, outcome.traceback)

    def keep(self, episode: str, reason: str, traceback: str) -> None:
        """Keep a traceback, if there is one, for whoever mends the environment or the operator."""
        self.last = reason or self.last
        if not traceback or self._path is None:
            return
        when = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(f"{when} {episode} of {self._name}: {reason}\n{traceback}\n")
        except OSError as error:  # a full disk: the reason is reported all the same
            self._notify(f"{self._path} cannot be written: {error}")

    def check(self, episode: str, outcome: Outcome, remedy: str) -> None:
        """Whether it is worth while to go on.

        Args:
            episode: the last one, which :meth:`note` was told of.
            outcome: of it.
            remedy: how to go on once the environment is mended.

        Raises:
            EnvironmentFault: the last :data:`FAULTS_IN_A_ROW` episodes have failed.
        """
        if self.in_a_row >= FAULTS_IN_A_ROW:
            logged = outcome.traceback and self._path is not None
            details = f" ({self._path} has details)" if logged else ""
            raise EnvironmentFault(
                f"{self._name} failed in {self.in_a_row} episodes in a row, at last in "
                f"{episode}: {outcome.reason}. Finished episodes are safe; "
                f"mend it{details} and {remedy}"
            )
