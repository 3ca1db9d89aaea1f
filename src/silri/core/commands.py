"""Commands to the loop that drives a robot, and the queue that they wait in."""

from __future__ import annotations

import enum
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass


class Command(enum.Enum):
    """What a person, a device or a console asks of the loop."""

    TAKE = "take"  # the person drives, until RELEASE or the end of the episode
    RELEASE = "release"  # the undoing of TAKE
    PAUSE = "pause"  # stand still, until RESUME
    RESUME = "resume"  # the undoing of PAUSE
    SUCCESS = "success"  # end the episode now: the task is done
    FAILURE = "failure"  # end the episode now: the task has failed
    RESET = "reset"  # abandon the episode; it goes into quarantine
    DISCARD = "discard"  # drop the episode; nothing of it is kept
    STOP = "stop"  # save and end the run


ENDS_EPISODE = frozenset({Command.SUCCESS, Command.FAILURE, Command.RESET, Command.DISCARD})


@dataclass(frozen=True, slots=True)
class Request:
    """A command and the episode that it is meant for.

    Attributes:
        command: what to do.
        episode: id of the episode; None means the one that runs when the command arrives.
    """

    command: Command
    episode: int | None = None


class CommandQueue:
    """Commands on their way to a loop. Any thread may put; the loop takes, once per step."""

    def __init__(self) -> None:
        self._waiting: deque[Request] = deque()
        self._stopping = threading.Event()

    @property
    def stopping(self) -> bool:
        """Whether STOP was put; it never waits behind other commands."""
        return self._stopping.is_set()

    def put(self, command: Command, episode: int | None = None) -> None:
        """Ask for something.

        Args:
            command: what to do.
            episode: the episode that is meant. If another one runs by then, it is refused.
        """
        if command is Command.STOP:
            self._stopping.set()
        else:
            self._waiting.append(Request(command, episode))

    def take(self) -> tuple[Request, ...]:
        """Everything that waits, in order; for the loop's thread."""
        taken = []
        while self._waiting:  # only this thread takes; append and popleft are atomic
            taken.append(self._waiting.popleft())
        return tuple(taken)

    def give_back(self, requests: Sequence[Request]) -> None:
        """Put back what could not be looked at yet, before everything else."""
        self._waiting.extendleft(reversed(requests))
