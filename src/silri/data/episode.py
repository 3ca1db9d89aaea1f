"""Folding steps into an episode: the only writer of (observation, action, next observation)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from silri.core.errors import NonFiniteError, SpecError
from silri.core.specs import EnvSpec, Observation
from silri.core.transition import Transition

# Per-frame columns of an episode and their dtypes; (T, A) for the three actions, else (T,).
ACTION_COLUMNS = ("action", "policy_action", "human_action")
SCALAR_COLUMNS: Mapping[str, str] = {
    "human_weight": "float32",
    "reward": "float32",
    "terminated": "bool",
    "truncated": "bool",
    "is_intervention": "bool",
    "grasp_penalty": "float32",
    "policy_version": "int64",
}


@dataclass(frozen=True)
class Episode:
    """One whole attempt, autonomous and human parts together.

    ::

        observations   o_0  o_1  ...  o_{T-1}  o_T      T + 1 rows: o_T is the final observation
        frames          0    1   ...    T-1             T rows: action, reward, flags, diagnostics
        transition t = (o_t, frame t, o_{t+1})          never crosses an episode

    Attributes:
        episode_id: index in the run's store.
        observations: dict of (T + 1, *shape).
        frames: column name (:data:`ACTION_COLUMNS`, :data:`SCALAR_COLUMNS`) to (T, ...).
        diagnostics: what ``Agent.act`` said, name to (T,) float32, NaN where it said nothing.
        success: the task was done at the end.
        is_demo: recorded by the operator alone, before training.
        seed: the layout's reset seed.
        task: what was to be done: the instruction where there is one, else a name.
        operator: name of the operator.
        origin: who sent it and which of theirs it is, e.g. ``robot-1/9f3a:17``; "" if it was
            recorded here.
    """

    episode_id: int
    observations: Observation
    frames: dict[str, np.ndarray]
    diagnostics: dict[str, np.ndarray]
    success: bool
    is_demo: bool
    seed: int
    task: str
    operator: str
    origin: str = ""

    def __len__(self) -> int:
        return len(self.frames["reward"])

    def stats(self) -> dict[str, float]:
        """Counts of this episode; every number is computed from per-step flags.

        ``interventions`` counts 0 -> 1 edges; ``return`` is the undiscounted sum of rewards.
        """
        flags = self.frames["is_intervention"].astype(np.int8)
        edges = int((np.diff(flags, prepend=0) == 1).sum())
        return {
            "length": float(len(self)),
            "success": float(self.success),
            "return": float(self.frames["reward"].sum(dtype=np.float64)),
            "intervention_steps": float(flags.sum()),
            "intervention_rate": float(flags.mean()),
            "interventions": float(edges),
            "terminated": float(self.frames["terminated"][-1]),
            "truncated": float(self.frames["truncated"][-1]),
        }


@dataclass
class EpisodeBuilder:
    """Collects transitions of one episode; refuses what is not finite.

    Attributes:
        spec: of the environment.
        episode_id, is_demo, seed, task, operator: see :class:`Episode`.
        group: what evaluations count it with, ``info["task"]`` of the reset; "" if it says nothing.
    """

    spec: EnvSpec
    episode_id: int
    is_demo: bool
    seed: int
    task: str
    operator: str
    group: str = ""
    _transitions: list[Transition] = field(default_factory=list)
    _diagnostics: list[Mapping[str, float]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._transitions)

    def add(self, transition: Transition, diagnostics: Mapping[str, float]) -> None:
        """Append one step, which must follow the last one.

        Raises:
            NonFiniteError: NaN or infinity in an action, the reward, the penalty or the next
                observation, or a number that is infinite in 32 bits. The transition is kept all the
                same, so that :meth:`build` can hand the episode to quarantine.
            SpecError: a text changed; likewise.
        """
        if self._transitions and self._transitions[-1].terminated:
            raise ValueError("a step after a terminated one: the loop forgot to reset")
        self._transitions.append(transition)
        self._diagnostics.append(diagnostics)
        with np.errstate(over="ignore"):  # what is too large to be stored becomes infinite
            reward, penalty = np.float32(transition.reward), np.float32(transition.grasp_penalty)
        checks: dict[str, Any] = {
            "action": transition.action,
            "policy_action": transition.policy_action,
            "reward": reward,
            "grasp_penalty": penalty,
        }
        for key, value in transition.next_observation.items():
            if self.spec.observation[key].is_text:
                self._check_text(key, transition)
            else:
                checks[f"next_observation.{key}"] = value
        if transition.is_intervention:
            checks["human_action"] = transition.human_action
        for name, value in checks.items():
            if not np.isfinite(value).all():
                raise NonFiniteError(
                    f"'{name}' is not finite at step {transition.step} of episode "
                    f"{self.episode_id}: {np.asarray(value).ravel()[:8].tolist()}"
                )

    def _check_text(self, key: str, transition: Transition) -> None:
        """A text is the same in every step: the store keeps one of an episode."""
        before, after = (str(o[key]) for o in (transition.observation, transition.next_observation))
        if before != after:
            raise SpecError(
                f"'observation.{key}' of {self.task} changed at step {transition.step} of episode "
                f"{self.episode_id}, from {before!r} to {after!r}; what is to be done is said at "
                "the reset: begin an episode for it"
            )

    @property
    def last(self) -> Transition:
        """The newest step; there is one at least."""
        return self._transitions[-1]

    @property
    def total_reward(self) -> float:
        """Undiscounted sum of the rewards so far."""
        return sum(row.reward for row in self._transitions)

    @property
    def last_observation(self) -> Observation | None:
        """What the last step led to; None before the first."""
        return self._transitions[-1].next_observation if self._transitions else None

    def terminate(self, reward: float | None) -> None:
        """Let the last step be the end of the task, as a person says.

        Args:
            reward: of that step; None keeps the one it has.
        """
        last = self._transitions[-1]
        self._transitions[-1] = dataclasses.replace(
            last,
            terminated=True,
            truncated=False,
            reward=last.reward if reward is None else reward,
        )

    def build(self, *, success: bool) -> Episode:
        """The finished episode (at least one step)."""
        rows = self._transitions
        if not rows:
            raise ValueError(f"episode {self.episode_id} has no step")
        observations = {
            key: np.stack(
                [row.observation[key] for row in rows] + [rows[-1].next_observation[key]]
            ).astype(array.dtype)
            for key, array in self.spec.observation.items()
        }
        frames = {
            name: np.stack([getattr(row, name) for row in rows]).astype(np.float32)
            for name in ACTION_COLUMNS
        }
        for name, dtype in SCALAR_COLUMNS.items():
            frames[name] = np.asarray([getattr(row, name) for row in rows], dtype)
        names = sorted({name for row in self._diagnostics for name in row})
        diagnostics = {
            name: np.asarray([row.get(name, np.nan) for row in self._diagnostics], np.float32)
            for name in names
        }
        return Episode(
            episode_id=self.episode_id,
            observations=observations,
            frames=frames,
            diagnostics=diagnostics,
            success=success,
            is_demo=self.is_demo,
            seed=self.seed,
            task=self.task,
            operator=self.operator,
        )


def check_episode(episode: Episode, spec: EnvSpec) -> None:
    """Whether a finished episode fits ``spec`` and is finite, so that it may be trained on.

    Raises:
        SpecError: on missing or surplus columns, a wrong shape or dtype, or a text that is empty
            or changes; names the column.
        NonFiniteError: NaN or infinity anywhere but in ``human_action`` where nobody intervened
            and in diagnostics.
    """
    steps = len(episode)
    expected: dict[str, tuple[tuple[int, ...], str]] = {
        f"observation.{key}": ((steps + 1, *array.shape), array.dtype)
        for key, array in spec.observation.items()
    }
    expected |= dict.fromkeys(ACTION_COLUMNS, ((steps, spec.action.size), "float32"))
    expected |= {name: ((steps,), dtype) for name, dtype in SCALAR_COLUMNS.items()}
    actual = {f"observation.{key}": value for key, value in episode.observations.items()}
    actual |= episode.frames
    if expected.keys() != actual.keys():
        raise SpecError(
            f"episode {episode.episode_id} has columns {sorted(actual)}; "
            f"{spec.name} needs {sorted(expected)}"
        )
    for name, (shape, dtype) in expected.items():
        value = actual[name]
        if value.shape != shape or value.dtype != dtype:
            raise SpecError(
                f"'{name}' of episode {episode.episode_id} is {value.dtype}{value.shape}; "
                f"{spec.name} needs {dtype}{shape}"
            )
        if name == "human_action":
            value = value[episode.frames["is_intervention"]]
        if value.dtype.kind == "U":
            _check_text(episode, name, value)
        elif value.dtype != np.uint8 and not np.isfinite(value).all():
            step = int(np.argwhere(~np.isfinite(value))[0, 0])
            raise NonFiniteError(
                f"'{name}' of episode {episode.episode_id} is not finite, first in row {step}; "
                "quarantine the episode instead of storing it"
            )


def _check_text(episode: Episode, name: str, rows: np.ndarray) -> None:
    """Raise SpecError for a text that says nothing, or not the same thing in every row."""
    said = sorted({str(row) for row in rows})
    if len(said) != 1 or not said[0].strip():
        raise SpecError(
            f"'{name}' of episode {episode.episode_id} ({episode.task}) takes one text that says "
            f"what is to be done, got {', '.join(map(repr, said))}"
        )
