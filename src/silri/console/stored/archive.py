"""Stored episodes of a run, in the page's words, with their pictures.

A simulation is run again, from the seed and the executed actions; of a robot there is what its
cameras saw. Everything here runs on one thread of its own: graphics contexts belong to one.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from silri.console.drawing.mirror import Mirror
from silri.console.drawing.pictures import jpeg
from silri.console.narrate import camera_keys, coach_after, imitation, stored_steps
from silri.console.stored.record import RunRecord
from silri.core.errors import DataError, SilriError
from silri.core.specs import ActionSpec, ArraySpec, EnvSpec
from silri.data.episode import Episode

FRAMES_BYTES = 2_000_000  # of JPEG files in memory: one or two episodes
MAP_POINTS = 5_000
_LOG = logging.getLogger(__name__)


class Archive:
    """What there is to look at in a run's folder; it may be growing.

    Attributes:
        record: of the run.
        library: its episodes.
    """

    def __init__(
        self,
        record: RunRecord,
        spec: EnvSpec | None,
        open_mirror: Callable[[], Mirror] | None,
    ) -> None:
        """Look into a run.

        Args:
            record: of the run.
            spec: of its environment; None if nobody knows, then episodes say what can be known.
            open_mirror: opens another instance of the environment; None if there is to be none.
        """
        self.record, self._spec = record, spec
        self.library = record.library()
        self._open_mirror = open_mirror
        self._mirror: Mirror | None = None
        self._at: tuple[int, int] | None = None  # episode and step of the mirror
        self._episode: Episode | None = None  # the newest that was asked for
        self._frames: OrderedDict[tuple[int, int, int], bytes] = OrderedDict()
        self._frames_bytes = 0
        self._map: tuple[int, dict[str, Any]] | None = None

    @property
    def spec(self) -> EnvSpec:
        """Of the environment.

        Raises:
            DataError: nobody knows, and there is no episode to learn it from.
        """
        if self._spec is None and self._open_mirror is not None:
            self._spec = self._mirrored().env.env_spec
        if self._spec is None:
            entries = self.library.entries()
            if not entries:
                raise DataError(f"{self.record.folder} holds no episode yet")
            self._spec = _spec_of(self.read(entries[0].episode_id), self.record.env)
        return self._spec

    @property
    def view(self) -> Any:
        """Where actions move the hand in the drawn scene; None if nobody knows."""
        return None if self._open_mirror is None else self._mirrored().view

    def index(self) -> list[dict[str, Any]]:
        """One row per stored episode.

        Raises:
            DataError: a file is damaged.
        """
        return [
            {
                "episode": entry.episode_id,
                "kind": "demonstration" if entry.is_demo else "training",
                "success": entry.success,
                "length": entry.steps,
                "return": round(entry.total_reward, 4),
                "human_steps": entry.human_steps,
                "human_share": round(entry.human_steps / max(entry.steps, 1), 4),
                "task": entry.task,
                "end": "finished",
            }
            for entry in self.library.entries()
        ]

    def steps(self, episode_id: int) -> dict[str, Any]:
        """An episode, step by step.

        Raises:
            DataError: it is not stored, or damaged.
        """
        episode = self.read(episode_id)
        before = [e for e in self.library.entries() if e.episode_id < episode_id and not e.is_demo]
        first, coach = sum(entry.steps for entry in before), coach_after(before)
        return {
            "steps": stored_steps(episode, self.spec.action, first, coach),
            "success": episode.success,
            "task": episode.task,
        }

    def frame(self, episode_id: int, step: int, camera: int) -> bytes:
        """A JPEG of what there was to see before step ``step`` (its length: at the end).

        Raises:
            DataError: there is no such episode, step or camera.
            SilriError: it cannot be drawn.
        """
        where = (episode_id, step, camera)
        if where in self._frames:
            self._frames.move_to_end(where)
            return self._frames[where]
        episode = self.read(episode_id)
        if not 0 <= step <= len(episode):
            raise DataError(f"episode {episode_id} has {len(episode)} steps")
        data = jpeg(self._image(episode, step, camera))
        self._frames[where] = data
        self._frames_bytes += len(data)
        while self._frames_bytes > FRAMES_BYTES:
            self._frames_bytes -= len(self._frames.popitem(last=False)[1])
        return data

    def map(self) -> dict[str, Any]:
        """Visited states, by where the hand was, with how strongly the person is imitated there.

        Raises:
            DataError: an episode is damaged.
        """
        entries = self.library.entries()
        if self._map is not None and self._map[0] == len(entries):
            return self._map[1]
        parts = [self._places(self.library.episode(entry.episode_id)) for entry in entries]
        rows = np.concatenate(parts) if parts else np.zeros((0, 4))
        chosen = (
            rows[np.unique(np.linspace(0, len(rows) - 1, MAP_POINTS).astype(int))]
            if len(rows) > MAP_POINTS
            else rows
        )
        points = [
            [round(x, 5), round(y, 5), round(w, 4) if w == w else None, int(by)]
            for x, y, w, by in chosen.tolist()
        ]
        result = {"points": points, "axes": ["x", "y"], "of": "imitation"}
        self._map = (len(entries), result)
        return result

    def close(self) -> None:
        """Close the mirror."""
        if self._mirror is not None:
            self._mirror.close()

    def read(self, episode_id: int) -> Episode:
        """An episode; the newest stays in memory.

        Raises:
            DataError: it is not stored, or damaged.
        """
        if self._episode is None or self._episode.episode_id != episode_id:
            self._episode = self.library.episode(episode_id)
        return self._episode

    def _image(self, episode: Episode, step: int, camera: int) -> np.ndarray:
        if self._open_mirror is None:
            camera += 1
        if camera:
            keys = camera_keys(self.spec)
            if camera > len(keys):
                raise DataError(f"there is no camera {camera}")
            return episode.observations[keys[camera - 1]][step]
        mirror, at = self._mirrored(), self._at
        if at is None or at[0] != episode.episode_id or at[1] > step:
            mirror.reset(episode.seed)
            at = (episode.episode_id, 0)
        self._at = None  # if a step fails, nothing is known of where it is
        for number in range(at[1], step):
            mirror.step(episode.frames["action"][number])
        self._at = (episode.episode_id, step)
        image = mirror.picture()
        if image is None:
            raise SilriError(f"{self.record.env} gives no picture")
        return image

    def _mirrored(self) -> Mirror:
        if self._mirror is None:
            assert self._open_mirror is not None
            self._mirror = self._open_mirror()
        return self._mirror

    def _places(self, episode: Episode) -> np.ndarray:
        """(T, 4): x and y of the hand, weight (NaN where nobody knows), whether a person drove."""
        key, index = self._hand(episode)
        place = episode.observations[key][:-1, index]
        told = episode.diagnostics
        stds = [values for name, values in told.items() if name.startswith("human_std.")]
        weights = np.full(len(episode), np.nan)
        if stds and "lambda" in told:
            for step in range(len(episode)):
                weights[step] = imitation(
                    float(told["lambda"][step]), [float(values[step]) for values in stds]
                )
        driven = episode.frames["is_intervention"].astype(np.float64)
        return np.column_stack((place, weights, driven))

    def _hand(self, episode: Episode) -> tuple[str, list[int]]:
        """The observation that says where the hand is, and the indices of x and y in it."""
        for key, places in self.spec.points.items():
            if places:
                return key, list(places[0][:2])
        vectors = [k for k, v in episode.observations.items() if v.ndim == 2 and v.shape[1] > 1]
        if not vectors:
            raise DataError(f"{self.record.env} observes no position")
        return ("state" if "state" in vectors else vectors[0]), [0, 1]


def _spec_of(episode: Episode, name: str) -> EnvSpec:
    """What an episode shows of its environment; that a dimension is a gripper it does not."""
    return EnvSpec(
        name=name,
        observation={
            key: ArraySpec(values.shape[1:], str(values.dtype))
            for key, values in episode.observations.items()
        },
        action=ActionSpec(episode.frames["action"].shape[1]),
        max_episode_steps=len(episode),
    )
