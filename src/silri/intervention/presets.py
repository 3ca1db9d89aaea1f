"""The people we simulate: a checked table of skill and gate, by name.

The numbers are here, :meth:`Preset.describe` writes them out at the start of a run, and
``docs/operators.md`` holds what each of these people does with them, measured.
"""

from __future__ import annotations

from dataclasses import dataclass

from silri.core.registry import Entry, Registry
from silri.intervention.gate import GateConfig
from silri.intervention.skill import SkillConfig


@dataclass(frozen=True)
class Preset:
    """A person.

    Attributes:
        name: what the user types.
        summary: what they are like, in one line.
        skill: how their hand differs from the expert's.
        gate: when they take over and let go.
    """

    name: str
    summary: str
    skill: SkillConfig
    gate: GateConfig

    def describe(self) -> str:
        """Summary and every number, for the start of a run."""
        return (
            f"operator {self.name}: {self.summary}. "
            f"Skill: {self.skill.describe()}. Gate: {self.gate.describe()}."
        )


EXPERT = Preset(
    name="expert",
    summary="the scripted expert itself, without any error",
    skill=SkillConfig(),
    gate=GateConfig(),
)
STEADY = Preset(
    name="steady",
    summary="a practised hand: small errors, the same everywhere",
    skill=SkillConfig(jitter=0.1, bias=0.05, delay=1),
    gate=GateConfig(),
)
NOVICE = Preset(
    name="novice",
    summary="new to this: shaky everywhere, a little late, stops to think, sometimes wrong",
    skill=SkillConfig(jitter=0.3, bias=0.15, delay=1, hesitation=0.03, mistake=0.15),
    gate=GateConfig(),
)
HETEROGENEOUS = Preset(
    name="heterogeneous",
    summary="good far from the object, poor near it",
    skill=SkillConfig(jitter=0.5, bias=0.4, far=0.15, near=0.85, mistake=0.15),
    gate=GateConfig(),
)
CARELESS = Preset(
    name="careless",
    summary="notices late, grabs often in the wrong direction, lets go too soon",
    skill=SkillConfig(jitter=0.2, bias=0.2, mistake=0.3),
    gate=GateConfig(probability=0.3, disagreement=1.2, hold=(3, 10)),
)
KEYBOARD = Preset(
    name="keyboard",
    summary="arrow keys: one axis at a time, precise and slow",
    skill=SkillConfig(jitter=0.05, one_axis=True),
    gate=GateConfig(hold=(8, 25)),
)
TIRED = Preset(
    name="tired",
    summary="knows how, but is slow, drifts off, and looks away once the robot succeeds",
    skill=SkillConfig(jitter=0.2, bias=0.15, delay=2, hesitation=0.08, hesitation_steps=(3, 8)),
    gate=GateConfig(probability=0.08, fading=0.8),
)

_PRESETS = (EXPERT, STEADY, NOVICE, HETEROGENEOUS, CARELESS, KEYBOARD, TIRED)

OPERATORS = Registry(
    "operator",
    [
        *(
            Entry(preset.name, f"silri.intervention.presets:{preset.name.upper()}", preset.summary)
            for preset in _PRESETS
        ),
        Entry("none", "silri.intervention.operators:NoOperator", "nobody ever intervenes"),
    ],
)
