"""What an environment and an operator are to return; who breaks it is named.

``rollout`` checks what comes back in every step, :mod:`silri.runtime.starting.opening` before a run
begins.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from silri.core.commands import Command
from silri.core.errors import EnvironmentFault, SilriError, SpecError
from silri.core.foreign import said
from silri.core.protocols import Closeable, Env, OperatorInput, Privileged
from silri.core.values import number, truth

StepResult = tuple[Mapping[str, Any], float, bool, bool, Mapping[str, Any]]

RETURNS: Mapping[str, str] = {
    "env.reset": "(observation, info)",
    "env.step": "(observation, reward, terminated, truncated, info)",
    "env.privileged": "a silri.core.protocols.Privileged",
    "operator.decide": "a silri.core.protocols.OperatorInput",
}


class Raised(Exception):
    """Somebody's environment or operator raised an exception.

    Attributes:
        traceback: of that exception, for a log.
    """

    def __init__(self, method: str, error: BaseException) -> None:
        text = said(error)
        # A wrapper that unpacks what it is given says no more than that.
        unpacked = "unpack" in text and method in RETURNS
        returns = f" ({method} returns {RETURNS[method]})" if unpacked else ""
        super().__init__(f"{method} raised {text}{returns}")
        self.traceback = "".join(traceback.format_exception(error))


@contextmanager
def theirs(method: str) -> Iterator[None]:
    """Around a call of code that is not silri's: its exceptions become :class:`Raised`.

    Errors of silri's own pass: whoever raises them has named the thing already. A SystemExit is an
    exception like any other: a simulator without a licence does not end silri without a word.
    """
    try:
        yield
    except (SilriError, Raised):
        raise
    except (Exception, SystemExit) as error:
        raise Raised(method, error) from error


@contextmanager
def required(method: str) -> Iterator[None]:
    """Around a call of code that is not silri's and without which nothing can go on.

    Raises:
        EnvironmentFault: it raised an exception; names the method.
    """
    try:
        with theirs(method):
            yield
    except Raised as error:
        raise EnvironmentFault(str(error)) from error


def close_env(env: Env, notify: Callable[[str], None]) -> None:
    """Close somebody's environment; what that raises costs nothing that is stored."""
    try:
        with theirs("env.close"):
            env.close()
    except (Raised, SilriError) as error:
        notify(str(error))


def close_operator(operator: object, notify: Callable[[str], None]) -> None:
    """Let go of what an operator holds, such as a device or a page, if it holds something."""
    if isinstance(operator, Closeable):
        try:
            with theirs("operator.close"):
                operator.close()
        except (Raised, SilriError) as error:
            notify(str(error))


def checked_reset(result: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """(observation, info), as they are to be.

    Raises:
        SpecError: it is something else.
    """
    if not isinstance(result, tuple) or len(result) != 2:
        raise SpecError(f"env.reset returned {_shown(result)}; it takes {RETURNS['env.reset']}")
    observation, info = result
    _check_mapping("env.reset", "observation", observation)
    _check_mapping("env.reset", "info", info)
    return observation, info


def checked_step(result: Any) -> StepResult:
    """(observation, reward, terminated, truncated, info), as they are to be.

    Raises:
        SpecError: it is something else.
    """
    if not isinstance(result, tuple) or len(result) != 5:
        raise SpecError(f"env.step returned {_shown(result)}; it takes {RETURNS['env.step']}")
    observation, reward, terminated, truncated, info = result
    _check_mapping("env.step", "observation", observation)
    _check_mapping("env.step", "info", info)
    reward = number("the reward that env.step returned", reward)
    for name in ("success", "grasp_penalty"):
        if name not in info:
            keys = sorted(map(str, info))
            raise SpecError(f"env.step returned an info without '{name}'; it has {keys}")
    terminated = truth("terminated, which env.step returned,", terminated)
    truncated = truth("truncated, which env.step returned,", truncated)
    info = {
        **info,
        "success": truth("info['success'] that env.step returned", info["success"]),
        "grasp_penalty": number(
            "info['grasp_penalty'] that env.step returned", info["grasp_penalty"]
        ),
    }
    return observation, reward, terminated, truncated, info


def checked_input(asked: Any) -> OperatorInput:
    """What an operator asks for, as it is to be.

    Raises:
        SpecError: it is something else.
    """
    if not isinstance(asked, OperatorInput):
        raise SpecError(
            f"operator.decide returned {_shown(asked)}; it takes {RETURNS['operator.decide']}"
        )
    commands: tuple[object, ...] = asked.commands
    if odd := [command for command in commands if not isinstance(command, Command)]:
        raise SpecError(f"operator.decide gave the commands {odd}; it takes silri's Command")
    notices: tuple[object, ...] = asked.notices
    if odd_notices := [notice for notice in notices if not isinstance(notice, str)]:
        raise SpecError(f"operator.decide gave the notices {odd_notices}; it takes texts")
    return asked


def check_privileged(known: Any) -> Privileged:
    """What a simulator tells of itself, as it is to be.

    Raises:
        SpecError: it is something else.
    """
    if not isinstance(known, Privileged):
        raise SpecError(
            f"env.privileged returned {_shown(known)}; it takes {RETURNS['env.privileged']}"
        )
    return known


def check_methods(what: str, thing: object, names: tuple[str, ...]) -> None:
    """Whether ``thing`` has the methods of its protocol.

    Raises:
        SpecError: naming those that are missing.
    """
    if missing := [name for name in names if not callable(getattr(thing, name, None))]:
        raise SpecError(f"{what} ({type(thing).__name__}) has no method {', '.join(missing)}")


def _check_mapping(method: str, what: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise SpecError(f"{method} returned the {what} {_shown(value)}; it takes a dict")


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return f"{len(value)} values"
    return f"a {type(value).__name__}"
