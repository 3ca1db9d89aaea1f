"""The table of rules. A rule looks at a run and says what is wrong with it, or None.

It is silent where there is too little to judge by: :data:`silri.diagnosis.evidence.ENOUGH`.
"""

from __future__ import annotations

from collections.abc import Callable

from silri.diagnosis.evidence import Evidence
from silri.diagnosis.findings import Finding
from silri.diagnosis.of_episodes import (
    always_rewarded,
    episodes_set_aside,
    loop_late,
    never_rewarded,
    person_drives,
    timeouts_as_ends,
)
from silri.diagnosis.of_learning import (
    critic_diverges,
    gripper_collapsed,
    inputs_out_of_range,
    learner_starved,
    multiplier_at_ceiling,
    multiplier_at_zero,
)

Rule = Callable[[Evidence], Finding | None]

RULES: tuple[Rule, ...] = (
    never_rewarded,
    always_rewarded,
    critic_diverges,
    timeouts_as_ends,
    inputs_out_of_range,
    multiplier_at_zero,
    multiplier_at_ceiling,
    gripper_collapsed,
    person_drives,
    learner_starved,
    loop_late,
    episodes_set_aside,
)


def diagnose(run: Evidence) -> list[Finding]:
    """Everything that is wrong, what hurts most first."""
    return [finding for rule in RULES if (finding := rule(run)) is not None]
