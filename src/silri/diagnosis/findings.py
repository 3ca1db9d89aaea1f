"""What a rule says: one finding, its evidence, a picture of it, and what to try."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from silri.diagnosis.evidence import Series


@dataclass(frozen=True)
class Picture:
    """What a person should see.

    Attributes:
        title: one sentence.
        x: label of the horizontal axis.
        lines: label to a series.
        limits: label to a value that the lines are compared with.
        dots: one dot per value instead of a line.
    """

    title: str
    lines: Mapping[str, Series]
    limits: Mapping[str, float] = field(default_factory=dict)
    x: str = "environment steps"
    dots: bool = False


@dataclass(frozen=True)
class Finding:
    """Something is wrong.

    Attributes:
        rule: its short name.
        problem: what is wrong, one sentence.
        evidence: the numbers behind it, of this run.
        remedies: what to try, the likeliest first.
        picture: what the numbers look like.
    """

    rule: str
    problem: str
    evidence: str
    remedies: tuple[str, ...]
    picture: Picture
