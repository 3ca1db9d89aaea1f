"""A numpy ring of transitions, filled by whole episodes and sampled with fixed shapes.

Every transition knows both of its observations by their place. Frames are never chained by
insertion order: that is what gave other code bases the wrong next observation at the end of an
intervention segment, at a time-out and at the wrap of the ring.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from silri.core.errors import DataError, NonFiniteError, SpecError
from silri.core.specs import EnvSpec
from silri.core.transition import Batch, bootstrap_mask
from silri.data.columns import COLUMNS, check_columns
from silri.data.episode import Episode
from silri.data.frames import Frames

ACTIONS = ("action", "human_action")  # (A,) of each transition
SCALARS = ("reward", "mask", "is_intervention", "grasp_penalty")


class Replay:
    """The last ``capacity`` transitions; the oldest are overwritten.

    A row points at two observations, before it and after its last reward, which all rows share.

    Attributes:
        capacity: transitions it can hold.
        signature: what its batches hold; two replays of equal signatures can be mixed.
        episode_id, step, is_demo: (capacity,) where each stored row comes from.
    """

    def __init__(
        self,
        capacity: int,
        spec: EnvSpec,
        columns: tuple[str, ...] = (),
        n_step: int = 1,
        discount: float = 1.0,
    ) -> None:
        """An empty ring.

        Args:
            capacity: transitions; memory is taken as it fills.
            spec: of the environment.
            columns: names in :data:`silri.data.columns.COLUMNS` to compute for every transition.
            n_step: n. ``reward`` becomes the discounted sum of up to n rewards, and
                ``grasp_penalty`` that of the penalties; ``next_observation`` what follows the last
                of them, and ``mask`` carries the powers of gamma that a one-step target lacks:
                r + gamma mask Q stays the target.
            discount: gamma.

        Raises:
            SpecError: if ``capacity`` is not positive.
            UnknownNameError: there is no such column.
        """
        if capacity < 1:
            raise SpecError(f"a replay needs a capacity of at least 1, got {capacity}")
        check_columns(columns)
        self.capacity = capacity
        self.signature = (dict(spec.observation), spec.action, columns)
        self.episode_id = np.zeros(capacity, np.int64)
        self.step = np.zeros(capacity, np.int64)
        self.is_demo = np.zeros(capacity, np.bool_)
        self._spec, self._columns = spec, columns
        self._n_step, self._discount = n_step, discount
        # Rows may lie apart: then each needs two observations of its own. And the returns of up to
        # n rows that are overwritten may have ended after the oldest that is still there.
        self._frames = Frames(spec.observation, 2 * capacity + n_step)
        self._before = np.zeros(capacity, np.int64)
        self._after = np.zeros(capacity, np.int64)
        names = (*ACTIONS, *SCALARS, *columns)
        widths = [spec.action.size if name in ACTIONS else 1 for name in names]
        edges = np.cumsum([0, *widths]).tolist()
        self._places = dict(zip(names, pairwise(edges), strict=True))
        self._rows = np.empty((capacity, edges[-1]), np.float32)
        self._size = 0
        self._next = 0

    def __len__(self) -> int:
        return self._size

    def add(self, episode: Episode, select: np.ndarray | None = None) -> int:
        """Append the transitions of ``episode``, or those where ``select`` is True.

        Args:
            episode: T transitions; the next observation of the last is its final observation.
            select: (T,) bool.

        Returns:
            How many transitions were added.

        Raises:
            SpecError: if the episode does not fit the spec.
            NonFiniteError: on NaN or infinity; nothing is added then.
        """
        steps = np.arange(len(episode))
        if select is not None:
            if np.shape(select) != steps.shape:
                raise SpecError(f"'select' has shape {np.shape(select)}; it must be {steps.shape}")
            steps = np.flatnonzero(select)
        count = len(steps)
        # An episode longer than the ring leaves only its tail, as if added row by row.
        steps = steps[max(count - self.capacity, 0) :]
        rows, ends = self._encode(episode, steps)
        before, after = self._add_frames(episode, steps, ends)
        slots = (self._next + count - len(steps) + np.arange(len(steps))) % self.capacity
        self._rows[slots] = rows
        self._before[slots], self._after[slots] = before, after
        self.episode_id[slots] = episode.episode_id
        self.step[slots] = steps
        self.is_demo[slots] = episode.is_demo
        self._next = (self._next + count) % self.capacity
        self._size = min(self._size + count, self.capacity)
        return count

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Uniform slots with replacement: the shape never depends on how full the ring is.

        Raises:
            DataError: if the ring is empty.
        """
        if not self._size:
            raise DataError("nothing to sample: the replay is empty; add an episode first")
        return rng.integers(0, self._size, shape)

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Batch:
        """A batch with leading axes ``shape``, uniform with replacement.

        Raises:
            DataError: if the ring is empty.
        """
        return self.at(self.draw(rng, shape))

    def at(self, slots: np.ndarray) -> Batch:
        """The transitions at ``slots`` (any shape), as a batch with those leading axes.

        The arrays are fresh in every call: JAX on CPU may keep reading a numpy argument after
        the call returned, so a reused buffer would change under it.
        """
        rows = np.take(self._rows, slots.reshape(-1), axis=0)
        columns = {
            name: rows[:, first:last].reshape(
                (*slots.shape, last - first) if name in ACTIONS else slots.shape
            )
            for name, (first, last) in self._places.items()
        }
        columns = {name: np.ascontiguousarray(column) for name, column in columns.items()}
        return Batch(
            observation=self._frames.gather(self._before[slots]),
            next_observation=self._frames.gather(self._after[slots]),
            columns={name: columns.pop(name) for name in self._columns},
            **columns,
        )

    def _encode(self, episode: Episode, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The transitions at ``steps`` (n,) as (n, width) rows, checked; and where each ends."""
        (reward, penalty), ends, mask = _returns(episode, steps, self._n_step, self._discount)
        frames = {name: column[steps] for name, column in episode.frames.items()}
        flags = frames["is_intervention"].astype(np.bool_)
        human = np.where(flags[:, None], frames["human_action"], frames["action"])
        columns = {
            "action": frames["action"],
            "human_action": human,
            "reward": reward,
            "mask": mask,
            "is_intervention": flags.astype(np.float32),
            "grasp_penalty": penalty,
        }
        for name in self._columns:
            columns[name] = COLUMNS[name](episode, self._discount)[steps]
        rows = np.empty((len(steps), self._rows.shape[1]), np.float32)
        for name, (first, last) in self._places.items():
            shape = (len(steps), last - first) if name in ACTIONS else (len(steps),)
            _check_shape(episode, name, columns[name], shape)
            rows[:, first:last] = columns[name].reshape(len(steps), last - first)
            _check_finite(episode, name, rows[:, first:last])
        return rows, ends

    def _add_frames(
        self, episode: Episode, steps: np.ndarray, ends: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Store the observations that transitions need, each once; where both of each are, (n,)."""
        needed = np.unique(np.concatenate([steps, ends]))
        self._check_observations(episode)
        chosen = {key: episode.observations[key][needed] for key in self._spec.observation}
        for key, array in self._spec.observation.items():
            if not array.is_image:
                _check_finite(episode, f"observation.{key}", chosen[key])
        if not len(needed):
            return steps, ends
        numbers = self._frames.append(chosen)
        before, after = (numbers[np.searchsorted(needed, index)] for index in (steps, ends))
        return before, after

    def _check_observations(self, episode: Episode) -> None:
        spec = self._spec.observation
        missing = set(spec) - set(episode.observations)
        if missing:
            raise SpecError(
                f"episode {episode.episode_id} lacks the observations {sorted(missing)} of "
                f"{self._spec.name}; it has {sorted(episode.observations)}"
            )
        for key, array in spec.items():
            value = episode.observations[key]
            _check_shape(episode, f"observation.{key}", value, (len(episode) + 1, *array.shape))
            if value.dtype != array.dtype:
                raise SpecError(
                    f"'observation.{key}' of episode {episode.episode_id} has dtype "
                    f"{value.dtype}; the replay was made for {array.dtype}"
                )


def concatenate(batches: Sequence[Batch]) -> Batch:
    """Batches (U, B_i) as one (U, sum B_i), in order."""

    def joined(name: str) -> Any:
        values = [getattr(batch, name) for batch in batches]
        if isinstance(values[0], dict):
            return {key: np.concatenate([v[key] for v in values], axis=1) for key in values[0]}
        return np.concatenate(values, axis=1)

    return Batch(**{name: joined(name) for name in Batch._fields})


def _returns(
    episode: Episode, steps: np.ndarray, n: int, discount: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each step: sum of up to n rewards and grasp penalties, (2, S); what follows; its mask.

    A return ends with its episode: at a time-out it bootstraps from the true last observation,
    after as many rewards as there were. It ends at a hand-over, too: what a person made of a state
    says nothing about what the policy would have made of it, and the other way round.
    """
    flags = episode.frames["is_intervention"]
    stops = np.append(np.flatnonzero(flags[1:] != flags[:-1]) + 1, len(episode))
    ends = np.minimum(steps + n, stops[np.searchsorted(stops, steps, side="right")])
    each = np.stack([episode.frames["reward"], episode.frames["grasp_penalty"]]).astype(np.float32)
    totals = np.zeros((2, len(steps)), np.float32)
    for k in range(n):
        inside = steps + k < ends
        index = np.minimum(steps + k, len(episode) - 1)
        totals += inside * np.float32(discount**k) * each[:, index]
    mask = bootstrap_mask(episode.frames["terminated"][ends - 1])
    return totals, ends, mask * np.float32(discount) ** (ends - steps - 1).astype(np.float32)


def _check_shape(episode: Episode, name: str, column: np.ndarray, shape: tuple[int, ...]) -> None:
    if column.shape != shape:
        raise SpecError(
            f"'{name}' of episode {episode.episode_id} has shape {column.shape[1:]} "
            f"per step; the replay was made for {shape[1:]}"
        )


def _check_finite(episode: Episode, name: str, values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise NonFiniteError(
            f"'{name}' of episode {episode.episode_id} is not finite; quarantine the episode "
            "instead of adding it"
        )
