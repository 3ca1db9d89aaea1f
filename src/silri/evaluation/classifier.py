"""How far a success classifier can be trusted: numbers about episodes that it never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from silri.core.errors import DataError
from silri.evaluation.statistics import wilson_interval
from silri.rewards.classifier import SuccessClassifier
from silri.rewards.examples import NONE, SUCCESS, Attempt
from silri.rewards.fit import called_at, seen

BINS = 10  # of the calibration curve


@dataclass(frozen=True)
class Judged:
    """An episode and what the classifier says of its frames.

    Attributes:
        attempt: the episode.
        probabilities: (T + 1,), the reset's frame included.
    """

    attempt: Attempt
    probabilities: np.ndarray

    def called_at(self, threshold: float, consecutive: int) -> int | None:
        """The frame at which a run would have called it a success; None: never."""
        return called_at(self.probabilities > threshold, consecutive)

    @property
    def shown_at(self) -> int:
        """The first frame that is labelled a success."""
        return int(np.flatnonzero(self.attempt.labels == SUCCESS)[0])


@dataclass(frozen=True)
class Trust:
    """What is known about a classifier.

    Attributes:
        judged: the episodes.
        threshold, consecutive: what a run takes for a success.
        auc: chance that a frame with a success has the higher probability of two.
        precision, recall: of single frames at the threshold; NaN where nothing is called one.
        false_positives, negatives: frames without a success, and those of them called one.
        calibration: per bin (mean probability, share of successes, frames).
        brier: mean squared error of the probability.
    """

    judged: tuple[Judged, ...]
    threshold: float
    consecutive: int
    auc: float
    precision: float
    recall: float
    positives: int
    false_positives: int
    negatives: int
    calibration: tuple[tuple[float, float, int], ...]
    brier: float

    def episodes(self, *, success: bool) -> list[Judged]:
        """Those that ended in a success, or in none."""
        return [each for each in self.judged if each.attempt.success == success]

    def calls(self, *, success: bool) -> list[int | None]:
        """When each of them would have been called a success."""
        return [
            each.called_at(self.threshold, self.consecutive)
            for each in self.episodes(success=success)
        ]


def judge_attempts(
    classifier: SuccessClassifier, attempts: Sequence[Attempt], consecutive: int
) -> Trust:
    """Let a classifier judge episodes.

    Raises:
        DataError: they are all of one class; says how many there are.
    """
    wins = sum(attempt.success for attempt in attempts)
    if not 0 < wins < len(attempts):
        raise DataError(
            f"a report takes episodes of both classes; there are {wins} successes and "
            f"{len(attempts) - wins} failures that the classifier was not fitted on"
        )
    judged = tuple(
        Judged(attempt, classifier.probabilities(seen(classifier.sight, attempt)))
        for attempt in attempts
    )
    labels = np.concatenate([each.attempt.labels for each in judged])
    probabilities = np.concatenate([each.probabilities for each in judged])
    yes, no = probabilities[labels == SUCCESS], probabilities[labels == NONE]
    if not (len(yes) and len(no)):
        raise DataError(f"a report takes frames of both classes; there are {len(yes)}, {len(no)}")
    threshold = classifier.known.threshold
    hits, false = int((yes > threshold).sum()), int((no > threshold).sum())
    answers = np.concatenate([np.ones(len(yes)), np.zeros(len(no))])
    every = np.concatenate([yes, no])
    return Trust(
        judged=judged,
        threshold=threshold,
        consecutive=consecutive,
        auc=area_under_curve(yes, no),
        precision=hits / (hits + false) if hits + false else float("nan"),
        recall=hits / len(yes),
        positives=len(yes),
        false_positives=false,
        negatives=len(no),
        calibration=calibration_curve(every, answers),
        brier=float(np.mean((every - answers) ** 2)),
    )


def area_under_curve(yes: np.ndarray, no: np.ndarray) -> float:
    """Chance that one of ``yes`` is above one of ``no``; a tie counts half (Mann-Whitney)."""
    ordered = np.sort(no)
    below = np.searchsorted(ordered, yes, "left")
    ties = np.searchsorted(ordered, yes, "right") - below
    return float((below + ties / 2).sum() / (len(yes) * len(no)))


def calibration_curve(
    probabilities: np.ndarray, answers: np.ndarray
) -> tuple[tuple[float, float, int], ...]:
    """(mean probability, share of successes, frames) of every bin that has frames."""
    bins = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    rows = []
    for index in range(BINS):
        inside = bins == index
        if inside.any():
            mean, share = probabilities[inside].mean(), answers[inside].mean()
            rows.append((float(mean), float(share), int(inside.sum())))
    return tuple(rows)


def as_text(trust: Trust, classifier: SuccessClassifier) -> str:
    """What ``silri reward`` prints."""
    return "\n".join(f"{name:28}{value}" for name, value in rows_of(trust, classifier))


def rows_of(trust: Trust, classifier: SuccessClassifier) -> list[tuple[str, str]]:
    """The table: a name and a value per line."""
    known = classifier.known
    failures, successes = trust.calls(success=False), trust.calls(success=True)
    wrong = sum(call is not None for call in failures)
    missed = sum(call is None for call in successes)
    low, high = wilson_interval(trust.false_positives, trust.negatives)
    rate = trust.false_positives / trust.negatives
    false = f"{trust.false_positives} of {trust.negatives} frames"
    _, worst = wilson_interval(wrong, len(failures))
    return [
        ("fitted on", f"{len(known.fitted)} episodes"),
        ("judged here", f"{len(successes)} successes, {len(failures)} failures"),
        ("frames", f"{trust.positives} with a success, {trust.negatives} without"),
        ("area under the curve", f"{trust.auc:.4f}"),
        ("threshold", f"{trust.threshold:.3f}, {_chosen(classifier)}"),
        ("precision, recall", f"{trust.precision:.3f}, {trust.recall:.3f} of single frames"),
        ("false positives", f"{false}: {rate:.4f} [{low:.4f}, {high:.4f}]"),
        ("Brier score", f"{trust.brier:.4f}"),
        (f"with {trust.consecutive} frames in a row", ""),
        (
            "  failures called a success",
            f"{wrong} of {len(failures)}; with 95 % confidence below {worst:.2f}",
        ),
        ("  successes missed", f"{missed} of {len(successes)} until their last frame"),
        ("  successes called", _when(trust)),
    ]


def _chosen(classifier: SuccessClassifier) -> str:
    known = classifier.known
    negatives, false = known.chosen_on["negatives"], known.chosen_on["false_positives"]
    _, high = wilson_interval(false, negatives)
    wanted = known.config.false_positive_rate
    text = (
        f"chosen for a rate of {wanted:g} on {negatives} frames: {false} are called a success, "
        f"the rate may be up to {high:.4f}"
    )
    if high > wanted:
        text += "; record more failures to be surer"
    return text


def _when(trust: Trust) -> str:
    """How early or late, in frames, after the first one that is labelled a success."""
    pairs = zip(trust.episodes(success=True), trust.calls(success=True), strict=True)
    late = [call - each.shown_at for each, call in pairs if call is not None]
    if not late:
        return "none"
    early = [-frames for frames in late if frames < 0]
    text = f"{np.median(late):+.0f} steps after the first frame that shows one (median)"
    if early:
        text += f"; {len(early)} too early, by up to {max(early)} steps"
    return text
