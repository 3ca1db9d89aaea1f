"""Fitting a success classifier.

Some episodes are held out, whole: nothing here looks at them. The others are cut into folds, and
each fold is judged by a network that was fitted without it. What these say of frames that they
have never seen is what probabilities are calibrated and the threshold is chosen on. The network
that is kept is fitted on all folds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from silri.core.specs import Observation
from silri.rewards.classifier import Known, SuccessClassifier, flat
from silri.rewards.config import FitConfig
from silri.rewards.examples import (
    UNCLEAR,
    Attempt,
    folds_of,
    read_attempts,
    spec_of,
    split,
    thinned,
)
from silri.rewards.memory import Memory
from silri.rewards.network import calibrate, logits_of, sigmoid, threshold_for, train
from silri.vision.sight import Sight

MOST_FITTED = 1_500  # observations that a projection is fitted on


def fit_classifier(
    folders: Sequence[Path], config: FitConfig, say: Callable[[str], None] = lambda text: None
) -> tuple[SuccessClassifier, list[Attempt]]:
    """A classifier, and the episodes that it was not fitted on.

    Args:
        folders: datasets or run folders; labels that a person gave in a run are taken with it.
        config: how.
        say: told what takes its time.

    Raises:
        DataError: no pictures, one class only, or too few episodes; says how many there are.
    """
    attempts = read_attempts(folders, config)
    fitted, held_out = split(attempts, config)
    steps = sum(len(attempt.labels) for attempt in fitted)
    say(f"looking at {steps} steps of {len(fitted)} episodes; {len(held_out)} are held out")
    sight = Sight(config.vision, spec_of(attempts))
    sight.fit_rows(thinned(fitted, MOST_FITTED))
    features = [flat(seen(sight, attempt), sight.cameras) for attempt in fitted]
    labels = [attempt.labels for attempt in fitted]
    folds = folds_of(fitted, config)
    logits = [np.zeros(len(each)) for each in labels]
    for fold in range(folds.max() + 1):
        network = train(*_joined(features, labels, folds != fold), config, fold + 1)
        for index in np.flatnonzero(folds == fold):
            logits[index] = logits_of(network, features[index])
    unseen, answers = _joined(logits, labels, folds >= 0)
    scale, shift = calibrate(unseen, answers)
    probabilities = sigmoid(scale * unseen + shift)
    threshold = threshold_for(probabilities, answers, config.false_positive_rate)
    negatives = answers == 0
    known = Known(
        config=config,
        scale=scale,
        shift=shift,
        threshold=threshold,
        data=tuple(str(folder.resolve()) for folder in folders),
        held_out=tuple(attempt.key for attempt in held_out),
        fitted=tuple(attempt.key for attempt in fitted),
        chosen_on={
            "positives": int((~negatives).sum()),
            "negatives": int(negatives.sum()),
            "false_positives": int((probabilities[negatives] > threshold).sum()),
        },
    )
    network = train(*_joined(features, labels, folds >= 0), config)
    features += [flat(seen(sight, attempt), sight.cameras) for attempt in held_out]
    memory = _remembered([*fitted, *held_out], features, len(fitted))
    return SuccessClassifier(sight, network, known, memory), held_out


def seen(sight: Sight, attempt: Attempt) -> list[Observation]:
    """Every observation of an episode, as features."""
    return [sight(attempt.row(index)) for index in range(len(attempt.labels))]


def called_at(calls: np.ndarray, consecutive: int) -> int | None:
    """The frame at which a run would have called an episode a success; None: never.

    Args:
        calls: (T + 1,) bool of every frame, that of the reset included.
        consecutive: frames in a row that it takes.
    """
    row = 0
    for index in range(1, len(calls)):  # nobody judges what the reset shows
        row = row + 1 if calls[index] else 0
        if row >= consecutive:
            return index
    return None


def _remembered(attempts: Sequence[Attempt], features: Sequence[np.ndarray], fitted: int) -> Memory:
    """What of episodes is kept; the first ``fitted`` are not held out."""
    number = np.arange(len(attempts), dtype=np.int32)
    return Memory(
        features=np.concatenate(features).astype(np.float16),  # what a sight gives
        labels=np.concatenate([attempt.labels for attempt in attempts]),
        episodes=np.repeat(number, [len(attempt.labels) for attempt in attempts]),
        held_out=number >= fitted,
        successes=np.array([attempt.success for attempt in attempts]),
    )


def _joined(
    parts: Sequence[np.ndarray], labels: Sequence[np.ndarray], chosen: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the chosen episodes and their labels, without those that are unclear."""
    rows = np.concatenate([part for part, keep in zip(parts, chosen, strict=True) if keep])
    answers = np.concatenate([each for each, keep in zip(labels, chosen, strict=True) if keep])
    clear = answers != UNCLEAR
    return rows[clear], answers[clear]
