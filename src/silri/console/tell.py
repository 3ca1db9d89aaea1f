"""What the run tells its console: events as messages, with as little work as possible.

Everything that takes thought (why, curves, pictures) is done in the console's own process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from silri.core.events import (
    DemonstrationStep,
    EpisodeBegan,
    EpisodeEnded,
    Evaluated,
    EvaluationBegan,
    Event,
    LearnerUpdated,
    LearningBegan,
    Notice,
    RobotWaits,
    RunBegan,
    StepTaken,
)
from silri.core.transition import Transition


class Teller:
    """Sends messages; see :mod:`silri.console.link`."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        """Tell everything to ``send``, which must not wait."""
        self._send = send
        self._phase = ("", "")

    def run(self, event: RunBegan, *, drawn: bool) -> None:
        """What the console needs to know of the run.

        Args:
            event: the run's first.
            drawn: the environment may be opened a second time, to draw it.
        """
        self._send(
            {
                "kind": "run",
                "folder": event.folder,
                "spec": event.spec.to_json(),
                "diagnostics": list(event.diagnostics),
                "drawn": drawn,
            }
        )

    def phase(self, phase: str, reason: str) -> None:
        """Who drives now, or why nobody does; sent when it changes."""
        if (phase, reason) != self._phase:
            self._phase = (phase, reason)
            self._send({"kind": "control", "phase": phase, "reason": reason})

    def applied(self, page: str, sequence: int) -> None:
        """This input is what the robot does now."""
        self._send({"kind": "applied", "page": page, "sequence": sequence})

    def refused(self, page: str, text: str) -> None:
        """What a page sent is not obeyed."""
        self._send({"kind": "refused", "page": page, "text": text})

    def tell(self, event: Event) -> None:
        """An event of the run."""
        if isinstance(event, StepTaken):
            self._step(event.env_step, event.transition, event.diagnostics)
        elif isinstance(event, DemonstrationStep):
            self._step(0, event.transition, {})
        elif isinstance(event, EpisodeBegan):
            self._send(
                {
                    "kind": "episode",
                    "episode": event.episode_id,
                    "what": event.kind,
                    "seed": event.seed,
                    "task": event.task,
                    "env_step": event.env_step,
                    "observation": event.observation,
                }
            )
        elif isinstance(event, EpisodeEnded):
            self._send(
                {
                    "kind": "end",
                    "episode": event.episode_id,
                    "what": event.kind,
                    "end": event.end,
                    "success": event.success,
                    "env_step": event.env_step,
                }
            )
            if event.kind == "demonstration":
                self.phase("waiting", "the next episode comes when the robot is ready")
        elif isinstance(event, LearningBegan):
            self.phase("learning", f"{event.stage}: {event.updates:,} updates before it acts again")
        elif isinstance(event, RobotWaits):
            self.phase("ended" if event.over else "standby", event.reason)
        elif isinstance(event, EvaluationBegan):
            self.phase("evaluation", "the robot is tested on its own")
        elif isinstance(event, Evaluated | LearnerUpdated):
            kind = "evaluation" if isinstance(event, Evaluated) else "learner"
            numbers = {name: float(value) for name, value in event.metrics.items()}
            self._send({"kind": kind, "env_step": event.env_step, "metrics": numbers})
        elif isinstance(event, Notice):
            self._send({"kind": "notice", "text": event.text})

    def _step(self, env_step: int, step: Transition, diagnostics: Mapping[str, float]) -> None:
        self._send(
            {
                "kind": "step",
                "episode": step.episode_id,
                "step": step.step,
                "env_step": env_step,
                "action": step.action,
                "policy": step.policy_action,
                "human": step.human_action if step.is_intervention else None,
                "weight": step.human_weight,
                "reward": step.reward,
                "diagnostics": dict(diagnostics),
                "observation": step.next_observation,
            }
        )
