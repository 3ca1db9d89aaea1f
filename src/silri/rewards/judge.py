"""Who says, step by step, that the task is done. No JAX: a classifier comes as a function."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from silri.core.specs import Observation
from silri.core.transition import Transition
from silri.rewards.labels import Label, write_label


@dataclass(frozen=True)
class Ruling:
    """What becomes of a step.

    Attributes:
        transition: with the reward and the end that it is to have.
        success: the task is done.
        judged: something has said whether it is.
    """

    transition: Transition
    success: bool
    judged: bool


class Judge(Protocol):
    """What :func:`silri.runtime.acting.rollout.rollout` asks after every step.

    Attributes:
        veto_s: seconds in which a person may take a success back.
        called: whether a classifier has called the running episode a success; None without one.
    """

    veto_s: float
    called: bool | None

    def begin(self) -> None:
        """A new episode."""

    def rule(self, transition: Transition, info: Mapping[str, Any]) -> Ruling:
        """What becomes of a step that the environment has made."""

    def veto(self, transition: Transition) -> Ruling:
        """What becomes of the environment's step if a person takes its success back."""

    def said(self, transition: Transition, success: bool) -> None:
        """A person has said of what the step led to whether it is a success."""


def environments(transition: Transition, info: Mapping[str, Any]) -> Ruling:
    """What an environment itself says, where there is nobody else."""
    return Ruling(transition, bool(info["success"]), bool(info.get("judged", True)))


class Streak:
    """A classifier that must say yes several times in a row.

    Attributes:
        probability: of the last observation.
    """

    def __init__(
        self, classifier: Callable[[Observation], float], threshold: float, consecutive: int
    ) -> None:
        self._classifier, self._threshold, self._consecutive = classifier, threshold, consecutive
        self.begin()

    def begin(self) -> None:
        """A new episode."""
        self._row, self._muted, self.probability = 0, False, 0.0

    def mute(self) -> None:
        """It was wrong: it has no say again until it has said no."""
        self._row, self._muted = 0, True

    def __call__(self, observation: Observation) -> bool:
        """Look at the next observation of the episode."""
        self.probability = self._classifier(observation)
        yes = self.probability > self._threshold
        self._muted = self._muted and yes
        self._row = self._row + 1 if yes and not self._muted else 0
        return self._row >= self._consecutive


class Deciding:
    """Training by a classifier: its success is the reward and ends the episode.

    The environment's own opinion counts for nothing, but for an end that it cannot go on after.
    """

    called: bool | None

    def __init__(
        self,
        streak: Streak,
        *,
        step_reward: float,
        success_reward: float,
        veto_s: float = 0.0,
        digest: str = "",
        labels: Path | None = None,
    ) -> None:
        """A judge.

        Args:
            streak: the classifier.
            step_reward: of a step.
            success_reward: of one that succeeds.
            veto_s: see :class:`Judge`.
            digest: of the classifier, for the labels.
            labels: folder for what a person says of single frames; None: nowhere.
        """
        self._streak, self.veto_s = streak, veto_s
        self._step_reward, self._success_reward = step_reward, success_reward
        self._digest, self._labels = digest, labels
        self.called = False

    def begin(self) -> None:
        """See :class:`Judge`."""
        self._streak.begin()
        self.called = False

    def rule(self, transition: Transition, info: Mapping[str, Any]) -> Ruling:
        """See :class:`Judge`."""
        del info
        done = self._streak(transition.next_observation)
        self.called = self.called or done
        ruled = dataclasses.replace(
            transition,
            reward=self._success_reward if done else self._step_reward,
            terminated=transition.terminated or done,
            truncated=transition.truncated and not done,
        )
        return Ruling(ruled, done, judged=True)

    def veto(self, transition: Transition) -> Ruling:
        """See :class:`Judge`; the episode goes on."""
        self._streak.mute()
        self.called = False
        return Ruling(dataclasses.replace(transition, reward=self._step_reward), False, judged=True)

    def said(self, transition: Transition, success: bool) -> None:
        """Keep the frame that was judged as an example."""
        if self._labels is None:
            return
        # Images only: it is what a classifier learns from.
        frames = {k: a for k, a in transition.next_observation.items() if a.ndim == 3}
        label = Label(
            transition.episode_id,
            transition.step + 1,
            success,
            self._streak.probability,
            self._digest,
            frames,
        )
        write_label(self._labels, label)


class Watching:
    """An evaluation: the environment's own success counts, and the classifier's is noted beside it.

    Where the environment has no opinion the classifier's counts.
    """

    veto_s = 0.0
    called: bool | None

    def __init__(self, streak: Streak) -> None:
        self._streak = streak
        self.called = False

    def begin(self) -> None:
        """See :class:`Judge`."""
        self._streak.begin()
        self.called = False

    def rule(self, transition: Transition, info: Mapping[str, Any]) -> Ruling:
        """See :class:`Judge`."""
        done = self._streak(transition.next_observation)
        self.called = bool(self.called or done)
        own = environments(transition, info)
        if own.judged:
            return own
        ended = dataclasses.replace(
            transition,
            terminated=transition.terminated or done,
            truncated=transition.truncated and not done,
        )
        return Ruling(ended, done, judged=True)

    def veto(self, transition: Transition) -> Ruling:
        """See :class:`Judge`; nobody is asked."""
        return Ruling(transition, False, judged=True)

    def said(self, transition: Transition, success: bool) -> None:
        """See :class:`Judge`; evaluations teach nothing."""
