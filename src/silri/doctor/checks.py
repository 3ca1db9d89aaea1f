"""What a doctor says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from silri.core.errors import SilriError

State = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        section: machine, environment, device or round trip.
        name: what was looked at.
        state: how it is.
        value: the number, or what was seen.
        remedy: what to do; empty if there is nothing to do.
    """

    section: str
    name: str
    state: State
    value: str
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


class Section:
    """Makes the checks of one section."""

    def __init__(self, name: str) -> None:
        self.name = name

    def ok(self, name: str, value: str) -> Check:
        """All is well."""
        return Check(self.name, name, "ok", value)

    def skipped(self, name: str, why: str) -> Check:
        """Not looked at."""
        return Check(self.name, name, "skipped", why)

    def failed(self, name: str, value: str, remedy: str) -> Check:
        """A run would not work."""
        return Check(self.name, name, "failed", value, remedy)

    def judged(
        self, name: str, value: str, good: bool, remedy: str, *, otherwise: State = "warning"
    ) -> Check:
        """Well if ``good``, else ``otherwise`` with its remedy."""
        return self.ok(name, value) if good else Check(self.name, name, otherwise, value, remedy)

    def guarded(self, name: str, checks: Callable[[], Iterator[Check]]) -> Iterator[Check]:
        """``checks``; an error of ours ends them and is a finding itself."""
        try:
            yield from checks()
        except SilriError as error:
            yield self.failed(name, str(error), "")
