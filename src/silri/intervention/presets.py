"""The people we simulate: their numbers.

Their names and summaries are in :mod:`silri.intervention.registry`. A run prints the numbers when
it starts, and ``docs/reference/people.md`` holds what each of these people does, measured.
"""

from __future__ import annotations

from silri.intervention.gate import GateConfig
from silri.intervention.operators import SimulatedConfig
from silri.intervention.skill import SkillConfig

EXPERT = SimulatedConfig()
STEADY = SimulatedConfig(SkillConfig(jitter=0.1, bias=0.05, delay=1))
NOVICE = SimulatedConfig(SkillConfig(jitter=0.3, bias=0.15, delay=1, hesitation=0.03, mistake=0.15))
HETEROGENEOUS = SimulatedConfig(
    SkillConfig(jitter=0.5, bias=0.4, far=0.15, near=0.85, mistake=0.15)
)
CARELESS = SimulatedConfig(
    SkillConfig(jitter=0.2, bias=0.2, mistake=0.3),
    GateConfig(probability=0.3, disagreement=1.2, hold=(3, 10)),
)
KEYBOARD = SimulatedConfig(SkillConfig(jitter=0.05, one_axis=True), GateConfig(hold=(8, 25)))
TIRED = SimulatedConfig(
    SkillConfig(jitter=0.2, bias=0.15, delay=2, hesitation=0.08, hesitation_steps=(3, 8)),
    GateConfig(probability=0.08, fading=0.8),
)
# The error's direction matters: this one pushes a grasp off the object, others do no harm.
HABIT = SimulatedConfig(SkillConfig(jitter=0.1, habit=(0.35, -0.21, 0.175), far=0.15, near=0.85))
TWO_HANDS = SimulatedConfig(
    SkillConfig(
        jitter=0.1,
        habit=(0.35, -0.21, 0.175),
        other_habit=(-0.35, 0.21, 0.175),
        far=0.15,
        near=0.85,
    )
)
HALF = SimulatedConfig(
    SkillConfig(jitter=0.1, habit=(0.35, -0.21, 0.175), errs="right", far=0.15, near=0.85)
)
LATE = SimulatedConfig(SkillConfig(jitter=0.1, bias=0.05), GateConfig(late=(5, 15)))
TWO_WAYS = SimulatedConfig(SkillConfig(jitter=0.1, aside=0.12))
