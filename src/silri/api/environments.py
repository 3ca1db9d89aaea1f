"""Environments by name, or objects of a program's own."""

from __future__ import annotations

import dataclasses
from typing import Any

import gymnasium

from silri.core.errors import ConfigError, UsageError
from silri.core.protocols import Env
from silri.core.specs import EnvSpec
from silri.envs.config import EnvConfig, GymConfig
from silri.envs.gym.adapter import GymEnv, env_from
from silri.envs.registry import GIVEN, OBJECT, create_env, find_env, require_env


def make_env(env: str | gymnasium.Env[Any, Any] | Env, **settings: Any) -> Env:
    """An environment as silri sees it: a dict of arrays, actions in [-1, 1], and a spec.

    Args:
        env: a name (``silri list envs``; any Gymnasium id; ``module:Id-v0``), a Gymnasium
            environment object, or an object that follows :class:`silri.core.protocols.Env`, which
            is returned as it is.
        **settings: fields of the environment's configuration, e.g. ``max_episode_steps=100``,
            ``reward="sparse"``, ``success_return=200.0``; the command line's ``--env.X``.

    Returns:
        It has ``reset(seed=...)``, ``step(action)``, ``close()`` as Gymnasium has them, and
        ``env_spec``, a :class:`silri.core.specs.EnvSpec`.

    Raises:
        UnknownNameError: no environment has this name; lists the right ones.
        ConfigError: a space is unsupported, a setting does not fit, or it cannot be made.
        UsageError: it is no environment.

    Example::

        env = silri.make_env("metaworld/drawer-open-v3", reset_range=0.03)
        observation, info = env.reset(seed=0)
        observation, reward, terminated, truncated, info = env.step(policy(observation))
    """
    if isinstance(env, str):
        require_env(env)
        config = dataclasses.replace(find_env(env).preset().config, **settings)
        return create_env(env, config)
    if isinstance(getattr(env, "env_spec", None), EnvSpec):
        if settings:
            raise UsageError(f"{type(env).__name__} is made already: it takes no settings here")
        made: Env = env  # type: ignore[assignment]
        return made
    if not isinstance(env, gymnasium.Env):
        raise UsageError(
            f"make_env takes a name, a gymnasium.Env or a silri.core.protocols.Env, got "
            f"{type(env).__name__}"
        )
    return env_from(env, f"{OBJECT}{type(env.unwrapped).__name__}", GymConfig(**settings))


def name_and_config(env: Env) -> tuple[str, EnvConfig]:
    """What a run's configuration says of an environment object."""
    if isinstance(env, GymEnv):
        name = env.env_spec.name
        name = name if name.startswith(OBJECT) else f"{OBJECT}{name.rpartition('/')[2]}"
        return name, env.config
    return f"{GIVEN}{type(env).__name__}", EnvConfig()


def given_again(env: Any, name: str, config: EnvConfig) -> Env:
    """The object of a run that was made with one, when the run goes on.

    Raises:
        ConfigError: none is given, or another.
    """
    if env is None or isinstance(env, str):
        raise ConfigError(f"this run was made with the environment object {name}: give it as env")
    if not isinstance(getattr(env, "env_spec", None), EnvSpec) and isinstance(config, GymConfig):
        fields = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
        env = make_env(env, **fields)
    found, settings = name_and_config(make_env(env))
    if (found, settings) != (name, config):
        raise ConfigError(
            f"this run was made with the environment object {name} and {config}; got {found} and "
            f"{settings}"
        )
    return make_env(env)
