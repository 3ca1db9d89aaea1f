"""Task knowledge that is open to every agent: where positions are, and what may be moved.

Which numbers of an observation are positions is the environment's to say (``EnvSpec.points``);
without them vectors stay as they are. Frames of cameras are cropped at random, as image policies
are trained (DrQ, arXiv 2004.13649). Where frozen features are kept instead, noise stands in for
crops: with few demonstrations a network would know each picture by its smallest components. So it
would know each instruction by its wording, and fail at words that nobody has used yet.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from silri.core.settings import NonNegative, NonNegativeInt, settings
from silri.core.specs import EnvSpec
from silri.core.transition import Batch
from silri.nn.augment import Points, at_rest, random_crop, shift

SHIFTS, GOAL_SHIFTS, CROPS, NOISE, WORDS = (
    0x5817F7,
    0x60A15,
    0xC809,
    0xFEA7,
    0x30BD5,
)  # streams among an iteration's keys
SHARE = 0.5  # of the rows; the others stay, for what no observation shows stays, too
REST_M = 0.002  # an object that moves by less between observation and next observation is at rest


@settings("augment")
class Augment:
    """What a batch may be changed by without changing the task, and a further view of it."""

    shift: NonNegative = 0.06  # metres; half of a batch's rows are moved as a whole by up to this
    goal_shift: NonNegative = 0.0  # metres; goals alone are moved by up to this while objects rest
    relative: NonNegative = 0.0  # metres; unit of positions as seen from the hand as inputs, 0: off
    crop: NonNegativeInt = 4  # pixels; frames are moved by up to this, each by an offset of its own
    feature_noise: NonNegative = 0.3  # deviations; Gaussian noise on the features of cameras
    sentence_noise: NonNegative = 0.6  # deviations; likewise on what was read of an instruction


PLAIN = Augment()


@dataclass(frozen=True)
class Augmentation:
    """:class:`Augment` for one environment; hashable, so that it can be static in a jit.

    Attributes:
        settings: how far.
        points, objects, goals: the environment's, see :class:`~silri.core.specs.EnvSpec`.
        cameras: keys of frames.
        features: keys of what frozen eyes have made of frames.
        sentences: keys of what a frozen language model has made of texts.
    """

    settings: Augment
    points: Points
    objects: Points
    goals: Points
    cameras: tuple[str, ...]
    features: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()

    @classmethod
    def create(cls, settings: Augment, spec: EnvSpec) -> Augmentation:
        """For observations of ``spec``."""
        points, objects, goals = (
            tuple((key, places) for key, places in named.items() if places)
            for named in (spec.points, spec.objects, spec.goals)
        )
        arrays = spec.observation.items()
        cameras = tuple(key for key, array in arrays if array.is_image)
        features = tuple(key for key, array in arrays if array.is_features)
        sentences = tuple(key for key, array in arrays if array.is_sentence)
        return cls(settings, points, objects, goals, cameras, features, sentences)

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        """The batch with its observations moved; an observation and the next one by the same.

        A share of the rows is moved, each by an offset of its own that is drawn uniformly from a
        square. Likewise the goals alone, in a share of the rows in which no object moves and the
        episode goes on: no reward depends on a goal there.

        Args:
            key: of this learner iteration.
            batch: leading axes (U, B).
        """
        here, there = dict(batch.observation), dict(batch.next_observation)
        rows = batch.reward.shape
        if self.settings.shift and self.points:
            offset = _offsets(jax.random.fold_in(key, SHIFTS), rows, 2, self.settings.shift)
            here, there = (shift(side, self.points, offset) for side in (here, there))
        if self.settings.goal_shift and self.goals:
            rest = at_rest(batch.observation, batch.next_observation, self.objects, REST_M)
            stream, size = jax.random.fold_in(key, GOAL_SHIFTS), len(self.goals[0][1][0])
            offset = _offsets(stream, rows, size, self.settings.goal_shift)
            offset = jnp.where((rest & (batch.mask > 0))[..., None], offset, 0.0)
            here, there = (shift(side, self.goals, offset) for side in (here, there))
        if self.settings.crop:
            for number, camera in enumerate(self.cameras):
                stream = jax.random.fold_in(jax.random.fold_in(key, CROPS), number)
                for side, part in ((here, 0), (there, 1)):
                    part_key = jax.random.fold_in(stream, part)
                    side[camera] = random_crop(part_key, side[camera], self.settings.crop)
        if self.settings.feature_noise:
            for number, camera in enumerate(self.features):
                stream = jax.random.fold_in(jax.random.fold_in(key, NOISE), number)
                for side, part in ((here, 0), (there, 1)):
                    seen = jnp.asarray(side[camera], jnp.float32)
                    draw = jax.random.normal(jax.random.fold_in(stream, part), seen.shape)
                    side[camera] = seen + self.settings.feature_noise * draw
        if self.settings.sentence_noise:
            for number, text in enumerate(self.sentences):
                stream = jax.random.fold_in(jax.random.fold_in(key, WORDS), number)
                # Both sides of a row alike: an episode's words stay what they are.
                noise = jax.random.normal(stream, here[text].shape)
                for side in (here, there):
                    read = jnp.asarray(side[text], jnp.float32)
                    side[text] = read + self.settings.sentence_noise * noise
        return batch._replace(observation=here, next_observation=there)


def _offsets(key: jax.Array, rows: tuple[int, ...], size: int, reach: float) -> jax.Array:
    """(*rows, size) metres, up to ``reach`` on every axis; 0 in the rows that stay."""
    where, which = jax.random.split(key)
    offset = jax.random.uniform(where, (*rows, size), minval=-reach, maxval=reach)
    moved = jax.random.bernoulli(which, SHARE, rows)
    return jnp.where(moved[..., None], offset, 0.0)
