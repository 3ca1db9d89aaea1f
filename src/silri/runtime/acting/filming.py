"""Videos of an evaluation's episodes, the failures first.

Nobody knows how an episode ends before it does. So each is written to a temporary file while it
runs, and kept or deleted by its outcome; no frames wait in memory. Once as many failures as wanted
are kept, nothing is drawn any more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from silri.core.errors import ConfigError, SilriError, SpecError
from silri.core.protocols import Env, Pictured, Policy
from silri.core.specs import EnvSpec, Observation
from silri.data.episode import EpisodeBuilder
from silri.runtime.acting.autonomous import Drive
from silri.runtime.acting.rollout import Outcome
from silri.runtime.starting.contract import Raised, required, theirs
from silri.store.safety import files
from silri.store.tools.video import VideoWriter, load_av

_OURS = "episode_*"  # what may be deleted of an earlier evaluation


def check_filmable(env: Env, what: str) -> None:
    """Whether episodes in ``env`` can be filmed; to be asked before the first one.

    Args:
        env: has been reset, if it draws itself.
        what: asks for videos, for the message.

    Raises:
        MissingExtraError: PyAV is not installed.
        ConfigError: there is nothing to film.
        EnvironmentFault: it cannot be drawn here; says why.
    """
    load_av(what)
    with required("env.render"):
        drawn = _drawn(env)
    if drawn is None and not _cameras(env.env_spec):
        raise ConfigError(
            f"{what}: {env.env_spec.name} has nothing to film, no camera in its observation and no "
            "render() that gives (H, W, 3) uint8 (Gymnasium: render_mode='rgb_array'); leave it out"
        )


class Film:
    """The videos of one evaluation: ``episode_012_failure.mp4``, with the number of the layout.

    Attributes:
        folder: where they are.
    """

    def __init__(
        self, folder: Path, env: Env, keep: int, fps: float, notify: Callable[[str], None]
    ) -> None:
        """Begin; videos of an earlier evaluation in ``folder`` are deleted.

        Args:
            folder: is made.
            env: that the episodes happen in; see :func:`check_filmable`.
            keep: how many videos stay.
            fps: frames per second, one frame per decision.
            notify: told if the rest cannot be filmed. An evaluation does not fail with its film.
        """
        self.folder, self.env = folder, env
        self._keep, self._fps, self._notify = keep, fps, notify
        self._failures: list[Path] = []
        self._successes: list[Path] = []
        self._broken = False
        files.make_dir(folder)
        for old in folder.glob(_OURS):
            files.remove(old)

    @property
    def kept(self) -> list[Path]:
        """The videos, failures first."""
        return [*self._failures, *self._successes]

    def of(self, drive: Drive) -> Drive:
        """``drive``, whose episodes are filmed."""

        def driven(policy: Policy, builder: EpisodeBuilder) -> Outcome:
            if self._broken or len(self._failures) >= self._keep:
                return drive(policy, builder)
            path = self.folder / f"episode_{builder.episode_id:03d}.mp4"
            take = _Take(self.env, policy, files.temporary(path), self._fps)
            try:
                outcome = drive(take, builder)
                take.finish(builder.last_observation if outcome.end == "finished" else None)
                if take.problem:
                    self._broken = True
                    self._notify(f"the rest is not filmed: {take.problem}")
                elif take.frames and outcome.end in ("finished", "fault"):
                    self._sort(path, outcome)
            finally:
                take.delete()
            return outcome

        return driven

    def _sort(self, path: Path, outcome: Outcome) -> None:
        """Keep the video if it belongs to the first failures, or there is room for a success."""
        if outcome.success and len(self.kept) >= self._keep:
            return
        how = "success" if outcome.success else "failure" if outcome.judged else "unjudged"
        kept = path.with_stem(f"{path.stem}_{how}")
        files.rename(files.temporary(path), kept, durable=False)
        (self._successes if outcome.success else self._failures).append(kept)
        if len(self.kept) > self._keep:
            files.remove(self._successes.pop())


class _Take:
    """One episode: a policy that is filmed as it decides.

    Attributes:
        frames: written so far.
        problem: why there is no video of it; empty if nothing is wrong.
    """

    def __init__(self, env: Env, policy: Policy, path: Path, fps: float) -> None:
        self.frames, self.problem = 0, ""
        self._env, self._policy, self._path, self._fps = env, policy, path, fps
        self._file = contextlib.ExitStack()
        self._video: VideoWriter | None = None
        self._step = -1

    @property
    def version(self) -> int:
        """The policy's."""
        return self._policy.version

    def propose(
        self, observation: Observation, episode: int, step: int
    ) -> tuple[np.ndarray, dict[str, float]]:
        """What the policy does; what it sees is filmed."""
        if step > self._step and not self.problem:  # after a pause it is asked again
            self._step = step
            self._attempt(lambda: self._add(observation))
        return self._policy.propose(observation, episode, step)

    def finish(self, last: Observation | None) -> None:
        """The end of the file, after a frame that shows how it ended, if that is known."""
        if last is not None and not self.problem:
            self._attempt(lambda: self._add(last))
        self._attempt(self._file.close)

    def delete(self) -> None:
        """Leave nothing behind that is not kept, whatever happened."""
        self._attempt(self._file.close)
        files.remove(self._path)

    def _add(self, observation: Observation) -> None:
        pixels = _picture(self._env, observation)
        if self._video is None:
            writer = VideoWriter(self._path, self._fps, watched=True)
            self._video = self._file.enter_context(writer)
        self._video.add(pixels)
        self.frames += 1

    def _attempt(self, part: Callable[[], None]) -> None:
        """Do it; what goes wrong first ends the film, not the episode."""
        try:
            part()
        except (Raised, SilriError, OSError) as error:
            self.problem = self.problem or str(error)


def _cameras(spec: EnvSpec) -> list[str]:
    return [name for name, array in spec.observation.items() if array.is_image]


def _drawn(env: Env) -> np.ndarray | None:
    """(H, W, 3) uint8 as the environment draws itself; None if it does not."""
    if not isinstance(env, Pictured):
        return None
    with theirs("env.render"):
        drawn = env.render()
    if drawn is None:
        return None
    given: object = drawn
    if not isinstance(given, np.ndarray) or given.dtype != np.uint8 or given.shape[2:] != (3,):
        got = f"{drawn.dtype} {drawn.shape}" if isinstance(given, np.ndarray) else type(given)
        raise SpecError(f"env.render returned {got}; it takes uint8 of (height, width, 3)")
    return drawn


def _picture(env: Env, observation: Observation) -> np.ndarray:
    """(H, W, 3) uint8 of a moment, H and W even: drawn, or its cameras side by side."""
    drawn = _drawn(env)
    if drawn is not None:
        return _padded(drawn, *drawn.shape[:2])
    frames = [observation[name] for name in _cameras(env.env_spec)]
    height = max(frame.shape[0] for frame in frames)
    colour = [np.broadcast_to(frame, (*frame.shape[:2], 3)) for frame in frames]
    return np.concatenate([_padded(frame, height, frame.shape[1]) for frame in colour], axis=1)


def _padded(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """With black below and on the right, up to an even height and width: H.264 takes no other."""
    below, right = height + height % 2 - frame.shape[0], width + width % 2 - frame.shape[1]
    return np.pad(frame, [(0, below), (0, right), (0, 0)])
