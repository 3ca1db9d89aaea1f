"""What an environment and an operator that are open are checked for before an episode. No JAX."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from silri.core.errors import ConfigError, EnvironmentFault, NonFiniteError, SpecError
from silri.core.protocols import Env, HasPrivileged, Operator, OperatorView
from silri.core.seeding import Stream, derive_seed, rng
from silri.core.specs import EnvSpec
from silri.runtime.acting.demos import demonstrator_of
from silri.runtime.starting.contract import (
    Raised,
    check_methods,
    check_privileged,
    checked_input,
    checked_reset,
    checked_step,
    close_env,
    close_operator,
    theirs,
)
from silri.store.format.images import check_storable

ENV_METHODS = ("reset", "step", "close")
OPERATOR_METHODS = ("begin_episode", "decide", "end_episode", "state", "restore")


def check_opened(
    name: str,
    env: Env,
    make: Callable[[Env], Operator],
    *,
    seed: int,
    demonstrates: bool,
) -> tuple[Env, Operator]:
    """An environment that is open and the operator for it, checked.

    The environment is reset. Only a simulation, which has ``privileged()``, also makes a step: a
    robot must not move before a person expects it.

    Args:
        name: of the environment, for messages.
        env: is closed if it is refused.
        make: its operator.
        seed: of the run.
        demonstrates: whether the operator is to demonstrate, too.

    Raises:
        ConfigError: either breaks its contract, or the operator cannot be made.
    """
    try:
        check_methods("env", env, ENV_METHODS)
    except SpecError as error:
        raise ConfigError(f"{name} breaks the contract: {error}") from error
    operator: Operator | None = None
    try:
        if not isinstance(getattr(env, "env_spec", None), EnvSpec):
            raise SpecError("env_spec is missing; it takes a silri.core.specs.EnvSpec")
        check_storable(env.env_spec)
        operator = make(env)
        check_methods("operator", operator, OPERATOR_METHODS)
        if demonstrates:
            with theirs("operator.demonstrator"):
                demonstrator = demonstrator_of(operator)
            check_methods("operator.demonstrator()", demonstrator, OPERATOR_METHODS)
        _try(seed, env, operator)
    except (Raised, SpecError, EnvironmentFault) as error:
        _close(env, operator)
        raise ConfigError(f"{name} or its operator breaks the contract: {error}") from error
    except BaseException:
        _close(env, operator)
        raise
    return env, operator


def _close(env: Env, operator: object) -> None:
    close_env(env, lambda text: None)
    close_operator(operator, lambda text: None)


def _try(seed: int, env: Env, operator: Operator) -> None:
    """Reset and ask the operator; in simulation also step once."""
    spec, known = env.env_spec, None
    with theirs("env.reset"):
        result = env.reset(seed=derive_seed(seed, Stream.DEMO_LAYOUT, 0))
    observation = spec.validate_observation(checked_reset(result)[0])
    simulated = isinstance(env, HasPrivileged)
    if isinstance(env, HasPrivileged):
        with theirs("env.privileged"):
            known = check_privileged(env.privileged())
        spec.action.validate("privileged().expert_action", known.expert_action)
    idle = spec.action.snap(np.zeros(spec.action.size, np.float32))
    with theirs("operator.begin_episode"):
        operator.begin_episode(rng(seed, Stream.DEMO_OPERATOR, 0))
    with theirs("operator.decide"):
        asked = operator.decide(OperatorView(observation, idle, known, 0, in_control=False))
    checked_input(asked)
    if simulated:
        with theirs("env.step"):
            stepped = env.step(idle)
        following, reward, *_ = checked_step(stepped)
        spec.validate_observation(following)
        if not math.isfinite(reward):
            raise NonFiniteError(f"env.step returned the reward {reward}")
