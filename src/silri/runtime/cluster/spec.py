"""Whether two robots of one run observe and do the same."""

from __future__ import annotations

from typing import Any

from silri.core.errors import UsageError

# What networks and augmentations depend on; names, rates and time limits may differ.
COMPARED = ("observation", "action", "points", "objects", "goals")


def check_same_spec(robot: str, here: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Whether the learner trains for this robot's observations and actions.

    Args:
        robot: its name.
        here: its spec, as :meth:`~silri.core.specs.EnvSpec.to_json` writes it.
        wanted: the run's, which the first robot has brought.

    Raises:
        UsageError: it does not; names the field.
    """
    for field in COMPARED:
        mine, its = here.get(field), wanted.get(field)
        if mine == its:
            continue
        name = field
        if isinstance(mine, dict) and isinstance(its, dict):
            key = sorted(k for k in mine.keys() | its.keys() if mine.get(k) != its.get(k))[0]
            name, mine, its = f"{field}.{key}", mine.get(key), its.get(key)
        raise UsageError(
            f"{name} of {here.get('name')} on robot '{robot}' is {mine}; the run, with "
            f"{wanted.get('name')}, has {its}. All robots of a run must agree"
        )
