"""The learner of a cluster run: follows the store, learns on its schedule, publishes parameters.

A plain process that knows no network and opens no environment: episodes appear in the run folder,
parameters are laid down there, and a robot evaluates them. What it owes is counted in environment
steps: ``runtime.updates_per_step`` learner iterations for each, never more, so that a robot that is
away does not make it overfit. It checkpoints between episodes; resumed, it goes on with the
episodes that it has not counted yet.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from typing import Any, NoReturn

import jax

from silri.core.events import Notice
from silri.data.episode import Episode
from silri.runtime.cluster.parameters import Parameters, pack, write_parameters
from silri.runtime.cluster.paths import LivePaths, read_record, write_record
from silri.runtime.keeping.export import encode_parameters
from silri.runtime.session import Interrupted, Session
from silri.store.follow import Follower

POLL_S = 0.1  # how often an idle learner looks for episodes
IDLE_NOTICE_S = 30.0  # nothing came for so long: say so
BEAT_S = 1.0  # between records of progress


class Learner(Session):
    """Learns in ``folder`` from what the hub stores there; see the module's docstring."""

    def run(self) -> dict[str, Any]:
        """Learn to the budget and return the summary.

        Raises:
            Interrupted: asked to stop; a checkpoint is saved.
        """
        self._live = LivePaths(self.folder.path)
        self._phase, self._published = "starting", -1
        self._asked: dict[str, Any] | None = None  # the evaluation that a robot is to make
        self._next_beat = self._heard = self._clock.now()
        try:
            self._begin()
            self._learn()
            self._say("finishing")
            summary = self._finish()
            self._say("done")
        finally:
            self._close()
        return summary

    def _begin(self) -> None:
        """The newest checkpoint, or a fresh agent trained on the stored demonstrations."""
        self._say("starting")
        resuming = self._load()
        follower = Follower(self.folder.episodes)
        if not resuming:
            demos = self._wait_for_demonstrations(follower)
            self.state.next_episode = 1 + max((e.episode_id for e in demos), default=-1)
            counted = demos
        else:
            counted = [e for e in follower.new() if e.episode_id < self.state.next_episode]
        self._start_learning(counted, resuming=resuming)
        self._follower = Follower(self.folder.episodes, last_id=self.state.next_episode - 1)
        self._publish()

    def _wait_for_demonstrations(self, follower: Follower) -> list[Episode]:
        """Those that the run begins with; a robot records them.

        Raises:
            Interrupted: asked to stop before they were there.
        """
        wanted = self.config.data.demos if self.config.data.dataset is None else 0
        demos: list[Episode] = []
        while True:
            demos += [episode for episode in follower.new() if episode.is_demo]
            if len(demos) >= wanted:
                return demos
            if self._stop():
                raise Interrupted
            self._remind(f"the learner waits for {wanted - len(demos)} demonstrations of a robot")
            self._say("starting")
            self._clock.sleep(POLL_S)

    def _measure(self) -> Mapping[str, float] | None:
        """Let a robot measure the newest agent; the learner waits for it."""
        if self._published != self.state.updates:
            self._publish()
        self._asked = {"id": uuid.uuid4().hex[:12], "version": self.state.updates}
        self._say(self._phase, force=True)
        try:
            while (result := read_record(self._live.evaluation)).get("id") != self._asked["id"]:
                if self._stop():
                    return None
                self._remind("the learner waits for a robot to evaluate the policy")
                self._say(self._phase)
                self._clock.sleep(POLL_S)
        finally:
            self._asked = None
        if result["version"] != self.state.updates:  # after a crash it may have a newer one
            text = f"the evaluation is of version {result['version']}, not {self.state.updates}"
            self._notify(Notice(self.state.env_steps, text))
        metrics: dict[str, float] = result["metrics"]
        return metrics

    def _interrupt(self) -> NoReturn:
        self._save()
        raise Interrupted

    def _remind(self, text: str) -> None:
        """Say what is waited for, now and then."""
        now = self._clock.now()
        if now - self._heard > IDLE_NOTICE_S:
            self._heard = now
            self._notify(Notice(self.state.env_steps, text))

    def _learn(self) -> None:
        """Until the budget's steps are in and learned from."""
        self._say("training")
        while True:
            self._consume()
            owed = self._owed()
            if self._stop():
                self._interrupt()
            if owed > 0:
                self._iterate_once()
            elif self.state.env_steps >= self.config.steps:
                return
            else:
                self._idle()
            self._say(self._phase)

    def _consume(self) -> None:
        """Count what has been stored, evaluate and checkpoint when due."""
        for episode in self._follower.new():
            before = self.state.env_steps
            if before >= self.config.steps:
                continue  # not counted: it is there for a resumed run with a larger budget
            if episode.is_demo:
                self.state.next_episode = episode.episode_id + 1
                continue
            self.state.env_steps += len(episode)
            self._take_in(episode)
            self.state.next_episode = episode.episode_id + 1
            self._heard = self._clock.now()
            every = self.config.evaluation.every
            if every and self.state.env_steps // every > before // every:
                self._say("evaluating")
                self._run_evaluation()
                self._say("training")
            if self.state.env_steps - self._last_checkpoint >= self.config.runtime.checkpoint_every:
                self._save()

    def _owed(self) -> int:
        """Iterations that the steps so far still ask for."""
        if not len(self.mixer.online):
            return 0
        done = self.state.updates - self.config.agent.offline_iterations
        return int(self.state.env_steps * self.config.runtime.updates_per_step) - done

    def _iterate_once(self) -> None:
        # Not more than one ahead: what is dispatched cannot be stopped, nor counted as done.
        jax.block_until_ready(self._last_info[0])
        self._iterate()
        if self.state.updates % self.config.runtime.log_every == 0:
            self._log_learner()
        if self.state.updates % self.config.runtime.publish_every == 0:
            self._publish()

    def _idle(self) -> None:
        if self._published != self.state.updates:
            self._publish()  # all is learned: nobody should act with less
        self._remind(f"no episode for {IDLE_NOTICE_S:.0f} s: the learner waits for a robot")
        self._clock.sleep(POLL_S)

    def _publish(self) -> None:
        """Lay down the newest parameters for the hub to hand out."""
        parameters = Parameters(self.state.updates, encode_parameters(self.acting))
        write_parameters(self._live.policy, pack(parameters))
        self._published = self.state.updates
        self._say(self._phase)

    def _save(self) -> None:
        self._remember()
        self._checkpoint()

    def _say(self, phase: str, *, force: bool = False) -> None:
        """Leave a sign of life; the hub reads it."""
        now = self._clock.now()
        if phase == self._phase and now < self._next_beat and not force:
            return
        self._phase, self._next_beat = phase, now + BEAT_S
        done = self.state.updates - self.config.agent.offline_iterations
        record = {
            "phase": phase,
            "pid": os.getpid(),
            "beat": now,
            "version": self._published,
            "env_steps": self.state.env_steps,
            # All of them when less than an iteration is owed: nobody is to wait for the rest.
            "learnt_steps": max(
                done / self.config.runtime.updates_per_step,
                self.state.env_steps if self._owed() <= 0 else 0,
            ),
            # Somebody may wait for it: evaluating and saving come to an end, too.
            "learning": phase in ("training", "evaluating"),
            "evaluate": self._asked,
        }
        write_record(self._live.progress, record)
