"""An environment: does it keep its contract, how fast is it, can it be solved."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from silri.core.errors import EnvironmentFault, SpecError
from silri.core.protocols import Env, HasPrivileged
from silri.core.seeding import Stream, derive_seed
from silri.core.specs import Observation
from silri.doctor.checks import Check, Section
from silri.runtime.starting.contract import Raised, checked_reset, checked_step, theirs

MEASURE_S = 1.0  # of stepping, to know the rate
_env = Section("environment")


def check_environment(env: Env, *, episodes: int, moves: bool) -> Iterator[Check]:
    """Everything that a run needs of an environment.

    Args:
        env: opened; not closed here.
        episodes: of the scripted expert.
        moves: steps may be made. Without, it is only reset: a robot must not move before a
            person expects it.
    """
    try:
        yield from _checks(env, episodes, moves)
    except (Raised, SpecError, EnvironmentFault) as error:
        yield _env.failed("contract", str(error), "see docs/guides/own_environment.md")


def _checks(env: Env, episodes: int, moves: bool) -> Iterator[Check]:
    spec = env.env_spec
    yield _env.ok("name", spec.name)
    keys = ", ".join(f"{key} {list(array.shape)}" for key, array in spec.observation.items())
    yield _env.ok("observation", keys)
    grippers = f", grippers {list(spec.action.gripper)}" if spec.action.gripper else ""
    yield _env.ok("action", f"{spec.action.size} numbers{grippers}")
    yield _env.ok("time-out", f"{spec.max_episode_steps} steps at {spec.control_hz:g} Hz")
    yield check_reset(env)
    if not moves:
        why = "no simulation that knows the truth; --moves makes steps: a robot moves then"
        yield _env.skipped("steps", why)
        return
    yield check_rate(env)
    yield check_dimensions(env)
    yield check_expert(env, episodes)


def check_reset(env: Env) -> Check:
    """The same seed gives the same observation, also after another one."""
    first, _, again = (_reset(env, number) for number in (0, 1, 0))
    differing = [key for key in first if not np.array_equal(first[key], again[key])]
    if not differing:
        return _env.ok("reset", "the same seed gives the same observation")
    largest = max(
        float(np.abs(first[key].astype(float) - again[key].astype(float)).max())
        for key in differing
    )
    return Check(
        "environment",
        "reset",
        "warning",
        f"{', '.join(differing)} differs by up to {largest:.3g} for the same seed",
        "on a robot that is its nature; a simulation should draw everything from the seed: "
        "evaluations compare layouts",
    )


def check_rate(env: Env) -> Check:
    """Steps per second."""
    spec, rng = env.env_spec, np.random.default_rng(0)
    steps, number, took = 0, 0, 0.0
    while took < MEASURE_S:
        _reset(env, number)
        number += 1
        began, done = time.perf_counter(), False
        while not done and took + time.perf_counter() - began < MEASURE_S:
            action = spec.action.snap(rng.uniform(-1, 1, spec.action.size).astype(np.float32))
            done = _step(env, action)[1]
            steps += 1
        took += time.perf_counter() - began
    rate = steps / took
    return _env.judged(
        "rate",
        f"{rate:.0f} steps/s",
        rate >= spec.control_hz,
        f"it says {spec.control_hz:g} Hz: a person would drive in slow motion",
    )


def check_dimensions(env: Env) -> Check:
    """Every dimension of the action changes what comes next."""
    spec = env.env_spec
    rest = spec.action.snap(np.zeros(spec.action.size, np.float32))
    _reset(env, 0)
    still = _step(env, rest)[0]
    dead = []
    for dim in range(spec.action.size):
        changed = False
        for value in (1.0, -1.0):
            action = rest.copy()
            action[dim] = value
            if action[dim] == rest[dim]:
                continue
            _reset(env, 0)
            moved = _step(env, spec.action.snap(action))[0]
            changed = changed or any(not np.array_equal(moved[key], still[key]) for key in still)
        if not changed:
            dead.append(dim)
    return _env.judged(
        "action's effect",
        f"dimensions {dead} change nothing in the first step" if dead else "every dimension moves",
        not dead,
        "a dimension that does nothing cannot be learned: leave it out, or look at its scale",
    )


def check_expert(env: Env, episodes: int) -> Check:
    """How often the scripted expert succeeds: whether a success is ever told."""
    if not isinstance(env, HasPrivileged):
        return _env.skipped("expert", "it has none: a person demonstrates")
    lengths = []
    for number in range(episodes):
        _reset(env, number)
        for step in range(env.env_spec.max_episode_steps):
            with theirs("env.privileged"):
                action = env.privileged().expert_action
            _, done, success = _step(env, env.env_spec.action.snap(action))
            if done or success:
                if success:
                    lengths.append(step + 1)
                break
    value = f"succeeds in {len(lengths)} of {episodes} episodes"
    if lengths:
        value += f", {np.median(lengths):.0f} steps (median)"
    return _env.judged(
        "expert",
        value,
        2 * len(lengths) >= episodes,
        "info['success'] is never true, privileged().expert_action does not solve the task, or the "
        "time-out is too short"
        if not lengths
        else "more max_episode_steps, or an easier range of layouts",
        otherwise="warning" if lengths else "failed",
    )


def _reset(env: Env, number: int) -> Observation:
    with theirs("env.reset"):
        result = env.reset(seed=derive_seed(0, Stream.DEMO_LAYOUT, number))
    return env.env_spec.validate_observation(checked_reset(result)[0])


def _step(env: Env, action: np.ndarray) -> tuple[Observation, bool, bool]:
    """(observation, whether the episode is over, success)."""
    with theirs("env.step"):
        result = env.step(action)
    following, _, terminated, truncated, info = checked_step(result)
    observation = env.env_spec.validate_observation(following)
    return observation, terminated or truncated, bool(info["success"])
