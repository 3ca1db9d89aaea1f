"""A numpy ring of transitions, filled by whole episodes and sampled with fixed shapes.

Both observations of a transition are stored explicitly. Frames are never chained by insertion
order: that is what gave other code bases the wrong next observation at the end of an
intervention segment, at a time-out and at the wrap of the ring.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from silri.core.errors import DataError, NonFiniteError, SpecError
from silri.core.specs import ArraySpec, EnvSpec
from silri.core.transition import Batch, bootstrap_mask
from silri.data.episode import Episode

Path = tuple[str, ...]  # ("reward",) or ("observation", "state")

_SCALARS = ("reward", "mask", "is_intervention", "is_guidance", "grasp_penalty")


@dataclass(frozen=True)
class Layout:
    """Where each column of a :class:`~silri.core.transition.Batch` lives in a packed row.

    All float32 columns of a transition lie side by side in one row, so that drawing it touches
    memory once instead of once per column. Other dtypes (images) keep arrays of their own.

    Attributes:
        packed: column to (first, last + 1, shape) in the row of ``width`` floats.
        separate: column to its spec.
        width: floats per row.
    """

    packed: Mapping[Path, tuple[int, int, tuple[int, ...]]]
    separate: Mapping[Path, ArraySpec]
    width: int

    @classmethod
    def create(cls, spec: EnvSpec, extras: Mapping[str, ArraySpec]) -> Layout:
        """The layout of transitions of ``spec`` with ``extras``."""
        columns: dict[Path, ArraySpec] = {
            (side, key): array
            for side in ("observation", "next_observation")
            for key, array in spec.observation.items()
        }
        columns |= {(name,): ArraySpec((spec.action.size,)) for name in ("action", "human_action")}
        columns |= {(name,): ArraySpec(()) for name in _SCALARS}
        columns |= {("extras", key): array for key, array in extras.items()}
        packed: dict[Path, tuple[int, int, tuple[int, ...]]] = {}
        separate: dict[Path, ArraySpec] = {}
        width = 0
        for path, array in columns.items():
            if array.dtype != "float32":
                separate[path] = array
                continue
            size = int(np.prod(array.shape, dtype=np.int64))
            packed[path] = (width, width + size, array.shape)
            width += size
        return cls(packed, separate, width)

    def allocate(self, shape: tuple[int, ...]) -> Rows:
        """Uninitialised rows with the leading axes ``shape``."""
        return Rows(
            np.empty((*shape, self.width), np.float32),
            {
                path: np.empty((*shape, *array.shape), array.dtype)
                for path, array in self.separate.items()
            },
        )

    def batch(self, rows: Rows) -> Batch:
        """The columns of ``rows``, each a contiguous array of its own."""
        lead = rows.packed.shape[:-1]
        columns = dict(rows.separate)
        for path, (first, last, shape) in self.packed.items():
            columns[path] = rows.packed[..., first:last].reshape(*lead, *shape).copy()

        def group(name: str) -> dict[str, np.ndarray]:
            return {path[1]: column for path, column in columns.items() if path[0] == name}

        return Batch(
            observation=group("observation"),
            action=columns["action",],
            human_action=columns["human_action",],
            reward=columns["reward",],
            mask=columns["mask",],
            next_observation=group("next_observation"),
            is_intervention=columns["is_intervention",],
            is_guidance=columns["is_guidance",],
            grasp_penalty=columns["grasp_penalty",],
            extras=group("extras"),
        )


@dataclass(frozen=True)
class Rows:
    """Transitions as they are stored; ``packed`` is (..., width) float32."""

    packed: np.ndarray
    separate: dict[Path, np.ndarray]


class Replay:
    """The last ``capacity`` transitions; the oldest are overwritten.

    Attributes:
        capacity: transitions it can hold.
        layout: of the stored rows; two replays of equal spec and extras have equal layouts.
        episode_id, step, is_demo: (capacity,) where each stored row comes from.
    """

    def __init__(
        self,
        capacity: int,
        spec: EnvSpec,
        extras: Mapping[str, ArraySpec] | None = None,
        horizon: tuple[int, float] = (1, 1.0),
    ) -> None:
        """An empty ring.

        Args:
            capacity: transitions; memory is reserved, but touched only as it fills.
            spec: of the environment.
            extras: the columns of ``Transition.extras`` to keep, with their shapes.
            horizon: (n, gamma). ``reward`` becomes the discounted sum of up to n rewards, and
                ``grasp_penalty`` that of the penalties; ``next_observation`` what follows the last
                of them, and ``mask`` carries the powers of gamma that a one-step target lacks:
                r + gamma mask Q stays the target.

        Raises:
            SpecError: if ``capacity`` is not positive.
        """
        if capacity < 1:
            raise SpecError(f"a replay needs a capacity of at least 1, got {capacity}")
        self.capacity = capacity
        self.layout = Layout.create(spec, extras or {})
        self.episode_id = np.zeros(capacity, np.int64)
        self.step = np.zeros(capacity, np.int64)
        self.is_demo = np.zeros(capacity, np.bool_)
        self._spec = spec
        self._horizon = horizon
        self._rows = self.layout.allocate((capacity,))
        self._size = 0
        self._next = 0

    def __len__(self) -> int:
        return self._size

    def add(
        self, episode: Episode, select: np.ndarray | None = None, *, guides: bool = True
    ) -> int:
        """Append the transitions of ``episode``, or those where ``select`` is True.

        Args:
            episode: T transitions; the next observation of the last is its final observation.
            select: (T,) bool.
            guides: whether what a person did in it is to be imitated.

        Returns:
            How many transitions were added.

        Raises:
            SpecError: if the episode does not fit the spec or lacks a declared extra.
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
        packed, separate = self._encode(episode, steps)
        first, last, _ = self.layout.packed["is_guidance",]
        packed[:, first:last] *= guides
        slots = (self._next + count - len(steps) + np.arange(len(steps))) % self.capacity
        self._rows.packed[slots] = packed
        for path, column in separate.items():
            self._rows.separate[path][slots] = column
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

    def gather(self, slots: np.ndarray, out: Rows) -> None:
        """Copy the rows at ``slots`` (n,) into the contiguous rows ``out`` (n, ...)."""
        # "clip" writes straight into ``out``; "raise" would buffer. Slots come from `draw`.
        np.take(self._rows.packed, slots, axis=0, out=out.packed, mode="clip")
        for path, column in self._rows.separate.items():
            np.take(column, slots, axis=0, out=out.separate[path], mode="clip")

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Batch:
        """A batch with leading axes ``shape``, uniform with replacement.

        The arrays are fresh in every call: JAX on CPU may keep reading a numpy argument after
        the call returned, so a reused buffer would change under it.

        Raises:
            DataError: if the ring is empty.
        """
        return self.at(self.draw(rng, shape))

    def at(self, slots: np.ndarray) -> Batch:
        """The transitions at ``slots`` (any shape), as a batch with those leading axes."""
        flat = self.layout.allocate((slots.size,))
        self.gather(slots.reshape(-1), flat)
        return self.layout.batch(
            Rows(
                flat.packed.reshape(*slots.shape, -1),
                {k: v.reshape(*slots.shape, *v.shape[1:]) for k, v in flat.separate.items()},
            )
        )

    def _encode(
        self, episode: Episode, steps: np.ndarray
    ) -> tuple[np.ndarray, dict[Path, np.ndarray]]:
        """The transitions at ``steps`` as (n, width) rows and separate columns, checked."""
        columns = _columns(episode, steps, self._spec, self._horizon)
        for path in self.layout.packed.keys() | self.layout.separate.keys():
            if path not in columns:
                raise SpecError(
                    f"episode {episode.episode_id} lacks '{'.'.join(path)}', which the replay "
                    f"was made for; it has {sorted('.'.join(name) for name in columns)}"
                )
        packed = np.empty((len(steps), self.layout.width), np.float32)
        for path, (first, last, shape) in self.layout.packed.items():
            _check_shape(episode, path, columns[path], (len(steps), *shape))
            packed[:, first:last] = columns[path].reshape(len(steps), last - first)
            if not np.isfinite(packed[:, first:last]).all():
                raise NonFiniteError(
                    f"'{'.'.join(path)}' of episode {episode.episode_id} is not finite; "
                    "quarantine the episode instead of adding it"
                )
        separate: dict[Path, np.ndarray] = {}
        for path, spec in self.layout.separate.items():
            column = columns[path]
            _check_shape(episode, path, column, (len(steps), *spec.shape))
            if column.dtype != spec.dtype:
                raise SpecError(
                    f"'{'.'.join(path)}' of episode {episode.episode_id} has dtype "
                    f"{column.dtype}; the replay was made for {spec.dtype}"
                )
            separate[path] = column
        return packed, separate


def _columns(
    episode: Episode, steps: np.ndarray, spec: EnvSpec, horizon: tuple[int, float]
) -> dict[Path, np.ndarray]:
    """What a batch has, taken from an episode at ``steps`` (n,)."""
    missing = set(spec.observation) - set(episode.observations)
    if missing:
        raise SpecError(
            f"episode {episode.episode_id} lacks the observations {sorted(missing)} of "
            f"{spec.name}; it has {sorted(episode.observations)}"
        )
    columns: dict[Path, np.ndarray] = {}
    (reward, penalty), ends, mask = _returns(episode, steps, *horizon)
    for key in spec.observation:
        columns["observation", key] = episode.observations[key][steps]
        columns["next_observation", key] = episode.observations[key][ends]
    frames = {name: column[steps] for name, column in episode.frames.items()}
    flags = frames["is_intervention"].astype(np.bool_)
    columns["action",] = frames["action"]
    columns["human_action",] = np.where(flags[:, None], frames["human_action"], frames["action"])
    columns["reward",], columns["mask",] = reward, mask
    columns["is_intervention",] = columns["is_guidance",] = flags.astype(np.float32)
    columns["grasp_penalty",] = penalty
    columns |= {("extras", key): column[steps] for key, column in episode.extras.items()}
    return columns


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


def _check_shape(episode: Episode, path: Path, column: np.ndarray, shape: tuple[int, ...]) -> None:
    if column.shape != shape:
        raise SpecError(
            f"'{'.'.join(path)}' of episode {episode.episode_id} has shape {column.shape[1:]} "
            f"per step; the replay was made for {shape[1:]}"
        )
