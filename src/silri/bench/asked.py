"""The goals that a suite states in its table ``[goals]``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from silri.bench.toml_tables import Table


@dataclass(frozen=True)
class Fall:
    """How far success may fall after its best.

    Attributes:
        at_most: greatest fall of the mean of three evaluations.
        budgets: to the end of a budget of so many times the median steps to 90 %.
    """

    at_most: float
    budgets: float


@dataclass(frozen=True)
class DisturbedShare:
    """How much of the rival's loss with disturbances ours may lose.

    Attributes:
        share: at most this share of it.
        of_drops_from: where the rival loses this much or more.
    """

    share: float
    of_drops_from: float


@dataclass(frozen=True)
class Goals:
    """What ours is to reach; what is None is not asked.

    Attributes:
        steps_of_rival: steps to 90 %, as a ratio to the rival's.
        steps_of_published: likewise to those of the published setting.
        interventions_of_rival: interventions to 90 %, as a ratio to the rival's.
        long_horizon_success: success at the end of every long-horizon task.
        fall: steadiness of every task.
        end_of_ceiling: success at the end of every task, relative to its ceiling.
        disturbed: with disturbances, against the imitation reference.
    """

    steps_of_rival: float | None = None
    steps_of_published: float | None = None
    interventions_of_rival: float | None = None
    long_horizon_success: float | None = None
    fall: Fall | None = None
    end_of_ceiling: float | None = None
    disturbed: DisturbedShare | None = None

    def roles(self) -> tuple[str, ...]:
        """The references that these goals are about."""
        if self == Goals():
            return ()
        needed = {
            "rival": (self.steps_of_rival, self.interventions_of_rival),
            "published": (self.steps_of_published,),
            "imitation": (self.disturbed,),
        }
        return ("ours", *(role for role, goals in needed.items() if any(goals)))


_NUMBERS = (
    *("steps_of_rival", "steps_of_published", "interventions_of_rival"),
    *("long_horizon_success", "end_of_ceiling"),
)


def read_goals(path: Path, data: Mapping[str, Any]) -> Goals:
    """The goals of a suite file.

    Args:
        path: of the file, for messages.
        data: its table ``[goals]``.

    Raises:
        ConfigError: a key is unknown or a value is not positive.
    """
    table = Table(f"{path}: [goals]", data, (*_NUMBERS, "fall", "disturbed"))
    numbers = {name: table.positive(name) for name in _NUMBERS if table.has(name)}
    fall = disturbed = None
    if table.has("fall"):
        one = Table(f"{table.where}: fall", table.take("fall", dict), ("at_most", "budgets"))
        fall = Fall(one.positive("at_most"), one.positive("budgets"))
    if table.has("disturbed"):
        keys = ("share", "of_drops_from")
        one = Table(f"{table.where}: disturbed", table.take("disturbed", dict), keys)
        disturbed = DisturbedShare(one.positive("share"), one.positive("of_drops_from"))
    return Goals(**numbers, fall=fall, disturbed=disturbed)
