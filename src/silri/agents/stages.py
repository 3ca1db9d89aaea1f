"""The schedule of an algorithm: what it learns from, for how long, in which order."""

from __future__ import annotations

from typing import Literal

from silri.core.settings import NonNegativeInt, settings

Source = Literal["guidance", "mix"]


@settings("agent.stages")
class Stage:
    """One part of a schedule; the runtime hands ``name`` to ``Agent.update``."""

    name: str  # which losses are minimised: a name that the algorithm knows
    source: Source = "mix"  # demonstrations and interventions alone, or the mix with online data
    updates: NonNegativeInt | None = None  # before the first step; none: one per environment step
    reset_optimisers: bool = False  # Adam starts afresh when the stage begins


ONLINE = Stage("online")
