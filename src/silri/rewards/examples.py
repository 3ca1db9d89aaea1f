"""Labelled frames: which of an episode's show a success, and which episodes are held out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from silri.core.errors import DataError
from silri.core.seeding import Stream, rng
from silri.core.specs import ActionSpec, ArraySpec, EnvSpec
from silri.data.episode import Episode
from silri.rewards.config import FitConfig
from silri.rewards.labels import Label, read_labels
from silri.store.dataset import iterate_dataset
from silri.store.tools.survey import Place

SUCCESS, NONE, UNCLEAR = 1, 0, -1


@dataclass(frozen=True)
class Attempt:
    """One episode as a classifier sees it.

    Attributes:
        source: folder of the dataset.
        number: of the episode in it.
        success: it ended in one.
        frames: camera to (T + 1, H, W, 3) uint8, the final observation included.
        labels: (T + 1,) int8: :data:`SUCCESS`, :data:`NONE` or :data:`UNCLEAR`.
    """

    source: str
    number: int
    success: bool
    frames: dict[str, np.ndarray]
    labels: np.ndarray

    @property
    def key(self) -> str:
        """What tells it from every other attempt."""
        return f"{self.source}:{self.number}"

    def row(self, index: int) -> dict[str, np.ndarray]:
        """One observation's frames."""
        return {camera: frames[index] for camera, frames in self.frames.items()}


def label_frames(length: int, success: bool, config: FitConfig) -> np.ndarray:
    """(length,) labels of an episode's observations.

    The last ``positives`` of a success show it. What comes right before them shows a task that is
    nearly done, and nobody knows exactly when it was: left out.
    """
    labels = np.full(length, NONE, np.int8)
    if success:
        labels[max(0, length - config.positives - config.margin) :] = UNCLEAR
        labels[max(0, length - config.positives) :] = SUCCESS
    return labels


def read_attempts(folders: Iterable[Path], config: FitConfig) -> list[Attempt]:
    """Every episode of datasets and run folders; what a person said in a run wins.

    Raises:
        DataError: no dataset, no camera in it, or cameras of another shape than before.
    """
    attempts: list[Attempt] = []
    for folder in folders:
        place = Place.of(folder)
        beside = place.episodes.parent if place.episodes.name == "episodes" else place.episodes
        labels = read_labels(beside / "labels")
        of_episode: dict[int, list[Label]] = {}
        for label in labels:
            of_episode.setdefault(label.episode, []).append(label)
        source = str(place.episodes.resolve())
        for episode in iterate_dataset(place.episodes):
            said = of_episode.pop(episode.episode_id, [])
            attempts.append(_attempt(source, episode, said, config))
        attempts += [_of_labels(source, number, said) for number, said in of_episode.items()]
    _check_alike(attempts)
    return attempts


def _attempt(source: str, episode: Episode, said: list[Label], config: FitConfig) -> Attempt:
    frames = {
        key: array
        for key, array in episode.observations.items()
        if array.dtype == np.uint8 and array.ndim == 4
    }
    if not frames:
        raise DataError(
            f"episode {episode.episode_id} of {source} has no camera, only "
            f"{sorted(episode.observations)}: a success classifier looks at pictures"
        )
    labels = label_frames(len(episode) + 1, episode.success, config)
    for label in said:
        if label.frame < len(labels):
            labels[label.frame] = SUCCESS if label.success else NONE
    return Attempt(source, episode.episode_id, episode.success, frames, labels)


def _of_labels(source: str, number: int, said: list[Label]) -> Attempt:
    """Frames of an episode that was not kept, but for what a person said of it."""
    frames = {c: np.stack([label.frames[c] for label in said]) for c in said[0].frames}
    labels = np.array([SUCCESS if label.success else NONE for label in said], np.int8)
    return Attempt(source, number, bool(said[-1].success), frames, labels)


def _check_alike(attempts: Sequence[Attempt]) -> None:
    known: dict[str, tuple[int, ...]] = {}
    for attempt in attempts:
        shapes = {camera: frames.shape[1:] for camera, frames in attempt.frames.items()}
        known = known or shapes
        if shapes != known:
            raise DataError(
                f"cameras of {attempt.source} differ from those before it: {shapes}, not {known}; "
                "one classifier looks through one set of cameras"
            )


def spec_of(attempts: Sequence[Attempt]) -> EnvSpec:
    """What a :class:`~silri.vision.sight.Sight` needs to know of the cameras."""
    frames = attempts[0].frames
    cameras = {key: ArraySpec(array.shape[1:], "uint8") for key, array in sorted(frames.items())}
    return EnvSpec("cameras", cameras, ActionSpec(1), 1)


def split(attempts: Sequence[Attempt], config: FitConfig) -> tuple[list[Attempt], list[Attempt]]:
    """(to fit on, held out), whole episodes, the same share of both classes.

    Raises:
        DataError: a class has too few episodes for both parts; says how many there are.
    """
    wins = sum(attempt.success for attempt in attempts)
    counts = f"{wins} successes and {len(attempts) - wins} failures"
    if not 0 < wins < len(attempts):
        remedy = (
            "'silri record --keep-failures True' keeps failed attempts, and so does every run"
            if wins
            else "give demonstrations, too"
        )
        raise DataError(f"a classifier tells two classes apart; there are {counts}: {remedy}")
    parts: tuple[list[Attempt], list[Attempt]] = ([], [])
    for success in (True, False):
        group = [attempt for attempt in attempts if attempt.success == success]
        held = max(1, round(config.held_out * len(group)))
        if len(group) - held < 2:
            raise DataError(
                f"{counts} are too few: 1 of a class is held out and 2 are fitted on, "
                "at least; record more"
            )
        order = rng(config.seed, Stream.REWARD_SPLIT, int(success)).permutation(len(group))
        for place, index in enumerate(order):
            parts[place < held].append(group[index])
    return parts


def folds_of(attempts: Sequence[Attempt], config: FitConfig) -> np.ndarray:
    """(N,) which fold each attempt is in; every fold has episodes of both classes."""
    smallest = min(
        sum(attempt.success for attempt in attempts),
        sum(not attempt.success for attempt in attempts),
    )
    count = max(2, min(config.folds, smallest))
    folds = np.zeros(len(attempts), np.int64)
    for success in (True, False):  # in the order of the split, which is random already
        index = [i for i, attempt in enumerate(attempts) if attempt.success == success]
        folds[index] = np.arange(len(index)) % count
    return folds


def thinned(attempts: Sequence[Attempt], most: int) -> list[dict[str, np.ndarray]]:
    """At most ``most`` observations, evenly over all of them: a projection needs no more."""
    rows = [(attempt, index) for attempt in attempts for index in range(len(attempt.labels))]
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int))
    return [rows[place][0].row(rows[place][1]) for place in chosen]
