"""Any Gymnasium environment with Box (or Dict of Box) observations and bounded Box actions.

Observation keys become LeRobot's without their prefix:

===============================  ====================================
Gymnasium                        silri
===============================  ====================================
a vector Box                     ``state``
Dict key ``agent_pos``           ``state``
an image: uint8, (H, W, C)       ``images.<key>`` (``images.pixels`` for a Box)
Dict key ``pixels``, ``images``  ``images.<camera>`` each, if it is a Dict
any other Dict key               kept; nested keys are joined by dots
===============================  ====================================

Arrays that are not images are flattened to float32. Actions are rescaled from [-1, 1] to the
environment's own range, each dimension by itself.

Gymnasium has no word for where positions are in a vector. An environment that wants random shifts
says so in its ``metadata``: ``{"points": {"state": [[0, 1]]}}``, silri's keys to indices of
positions in metres, the hand's first, as in :class:`~silri.core.specs.EnvSpec`; likewise with
``"objects"`` and ``"goals"`` which of them are what the task moves, and where to.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium.wrappers import TimeLimit

from silri.core.errors import ConfigError, EnvironmentFault
from silri.core.protocols import HasPrivileged, Privileged
from silri.core.specs import ActionSpec, ArraySpec, EnvSpec, Observation

if TYPE_CHECKING:
    from silri.envs.config import EnvConfig

_CAMERAS = ("pixels", "images")  # a Dict of them
_RENAMED = {"agent_pos": "state"}


class ActionScaling:
    """[-1, 1] to a bounded Box and back, the two exact inverses of each other."""

    def __init__(self, box: gymnasium.spaces.Box) -> None:
        """For a Box whose bounds are finite."""
        self._shape, self._dtype = box.shape, box.dtype
        self._low = box.low.astype(np.float64).ravel()
        self._high = box.high.astype(np.float64).ravel()

    def to_env(self, action: np.ndarray) -> np.ndarray:
        """(A,) in [-1, 1] to the Box's shape and range, never outside it."""
        share = (np.asarray(action, np.float64) + 1.0) / 2.0
        scaled = (1.0 - share) * self._low + share * self._high
        return np.clip(scaled, self._low, self._high).reshape(self._shape).astype(self._dtype)

    def from_env(self, action: np.ndarray) -> np.ndarray:
        """The inverse: a Box's element to (A,) float32 in [-1, 1]."""
        share = (np.asarray(action, np.float64).ravel() - self._low) / (self._high - self._low)
        return (2.0 * share - 1.0).astype(np.float32)


class GymEnv(gymnasium.Env[Any, np.ndarray]):
    """A Gymnasium environment as :class:`silri.core.protocols.Env`.

    ``info["success"]`` is the environment's own ``success`` or ``is_success``, else an end with a
    positive reward. With the environment's own reward (the default) its terminations stand; with
    ``reward="sparse"`` success terminates as well and rewards are the configuration's.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], name: str, config: EnvConfig) -> None:
        """Adapt ``env``.

        Args:
            env: anything that follows Gymnasium's API.
            name: for messages and ``env_spec``.
            config: see :class:`~silri.envs.config.EnvConfig`.

        Raises:
            ConfigError: a space is unsupported, there is no step limit, or a field does not apply.
        """
        if config.reset_range is not None:
            raise ConfigError(
                f"env.reset_range = {config.reset_range!r} is for metaworld; {name} decides its "
                "own layouts from the reset's seed"
            )
        self._parts = tuple(_observation_parts(env.observation_space, name))
        box = _action_box(env.action_space, name)
        self.scaling = ActionScaling(box)
        self._env, limit = _limit_steps(env, name, config)
        self._config = config
        self._sparse = config.reward == "sparse"
        self._repeat = config.action_repeat or 1
        action = ActionSpec(math.prod(box.shape), config.gripper_dims)
        self.env_spec = EnvSpec(
            name=name,
            observation={key: spec for _, key, spec in self._parts},
            action=action,
            max_episode_steps=limit,
            points=env.metadata.get("points", {}),
            objects=env.metadata.get("objects", {}),
            goals=env.metadata.get("goals", {}),
        )
        self.observation_space = gymnasium.spaces.Dict(
            {
                key: gymnasium.spaces.Box(0, 255, spec.shape, np.uint8)
                if spec.dtype == "uint8"
                else gymnasium.spaces.Box(-np.inf, np.inf, spec.shape, np.float32)
                for _, key, spec in self._parts
            }
        )
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (action.size,), np.float32)
        self._gripper = list(config.gripper_dims)
        self._active = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode; ``seed`` and ``options`` go to the environment.

        Raises:
            SpecError: the observation does not fit the spec; NonFiniteError if it is not finite.
        """
        raw, info = self._env.reset(seed=seed, options=options)
        self._closed = np.full(len(self._gripper), self.env_spec.action.gripper_values[0])
        self._active = True
        return self._observation(raw), {**info, "success": False}

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Repeat ``action`` (A,) in [-1, 1] for ``action_repeat`` steps, or until the end.

        Raises:
            EnvironmentFault: the episode is over.
            SpecError: the observation does not fit the spec; NonFiniteError if it, or ``action``,
                is not finite.
        """
        if not self._active:
            raise EnvironmentFault(f"{self.env_spec.name}: step() without reset()")
        spec = self.env_spec.action
        command = spec.snap(spec.validate("action", action))
        scaled = self.scaling.to_env(command)
        total, success = 0.0, False
        for _ in range(self._repeat):
            raw, reward, terminated, truncated, info = self._env.step(scaled)
            total += float(reward)
            success = _succeeded(info, bool(terminated), float(reward))
            if terminated or truncated or (success and self._sparse):
                break
        if self._sparse:
            terminated = terminated or success
            total = self._config.success_reward if success else self._config.step_reward
        terminated = bool(terminated)
        truncated = bool(truncated) and not terminated
        self._active = not (terminated or truncated)
        moved = bool((command[self._gripper] != self._closed).any())
        self._closed = command[self._gripper]
        penalty = self._config.grasp_penalty if moved else 0.0
        info = {**info, "success": success, "grasp_penalty": penalty}
        return self._observation(raw), total, terminated, truncated, info

    def close(self) -> None:
        """Close the environment."""
        self._env.close()

    def _observation(self, raw: Any) -> Observation:
        """Pick the parts out of the environment's own observation, checked against the spec."""
        observation: dict[str, Any] = {}
        for path, key, spec in self._parts:
            value = raw
            for part in path:
                if part not in value:
                    raise EnvironmentFault(
                        f"{self.env_spec.name}: the observation has no '{'.'.join(path)}'"
                    )
                value = value[part]
            array = np.asarray(value)
            observation[key] = array if spec.dtype == "uint8" else array.ravel()
        return self.env_spec.validate_observation(observation)


class PrivilegedGymEnv(GymEnv):
    """A :class:`GymEnv` whose environment has a ``privileged()`` of its own.

    It returns :class:`~silri.core.protocols.Privileged` with ``expert_action`` in silri's [-1, 1].
    With it, simulated operators work.
    """

    def privileged(self) -> Privileged:
        """The truth about the current state."""
        known: HasPrivileged = self._env.unwrapped  # type: ignore[assignment]
        return known.privileged()


def env_from(env: gymnasium.Env[Any, Any], name: str, config: EnvConfig | None = None) -> GymEnv:
    """Adapt an environment object that is not registered.

    Args:
        env: anything that follows Gymnasium's API; with a ``privileged()`` method it can be driven
            by simulated operators.
        name: for messages and ``env_spec``.
        config: limits, reward and grippers; None takes the defaults.

    Raises:
        ConfigError: a space is unsupported, there is no step limit, or a field does not apply.
    """
    from silri.envs.config import EnvConfig

    adapter = PrivilegedGymEnv if isinstance(env.unwrapped, HasPrivileged) else GymEnv
    return adapter(env, name, EnvConfig(name=name) if config is None else config)


def create(identifier: str, config: EnvConfig) -> GymEnv:
    """Make and adapt the registered id.

    Raises:
        ConfigError: see :func:`env_from`.
    """
    # Gymnasium's own checker warns about what we check ourselves, with remedies.
    try:
        env = gymnasium.make(identifier, disable_env_checker=True)
    except gymnasium.error.Error as error:  # mostly a simulator that is not installed
        raise ConfigError(f"env.name: Gymnasium cannot make '{identifier}': {error}") from error
    return env_from(env, f"gym/{identifier}", config)


def _succeeded(info: dict[str, Any], terminated: bool, reward: float) -> bool:
    for key in ("success", "is_success"):
        if key in info:
            return bool(info[key])
    return terminated and reward > 0


def _limit_steps(
    env: gymnasium.Env[Any, Any], name: str, config: EnvConfig
) -> tuple[gymnasium.Env[Any, Any], int]:
    """The environment with a step limit, and that limit in decisions."""
    repeat = config.action_repeat or 1
    registered = None if env.spec is None else env.spec.max_episode_steps
    if config.max_episode_steps is None:
        if registered is None:
            raise ConfigError(
                f"{name} has no step limit; give env.max_episode_steps, or register it with "
                "max_episode_steps"
            )
        return env, math.ceil(registered / repeat)
    if registered is not None:
        env = _without_time_limit(env)
    return TimeLimit(env, config.max_episode_steps * repeat), config.max_episode_steps


def _without_time_limit(env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    """``gymnasium.make`` puts its TimeLimit outermost; ours replaces it."""
    return env.env if isinstance(env, TimeLimit) else env


def _action_box(space: gymnasium.Space[Any], name: str) -> gymnasium.spaces.Box:
    """The action space, if it is one that can be rescaled from [-1, 1]."""
    if not isinstance(space, gymnasium.spaces.Box):
        raise ConfigError(
            f"{name}: action space {space} is unsupported: silri's policies are continuous; "
            "it takes a bounded Box, so wrap the environment (gymnasium.ActionWrapper)"
        )
    if not np.issubdtype(space.dtype, np.floating):
        raise ConfigError(
            f"{name}: action space {space} is unsupported: its numbers are {space.dtype}; "
            "it takes a Box of floats, so wrap the environment (gymnasium.ActionWrapper)"
        )
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        raise ConfigError(
            f"{name}: action space {space} is unsupported: it has no bounds to rescale [-1, 1] "
            "to; it takes a bounded Box (gymnasium.wrappers.RescaleAction, or finite low, high)"
        )
    if space.low.size == 0 or not (space.low < space.high).all():
        raise ConfigError(
            f"{name}: action space {space} is unsupported: low must be below high in every "
            "dimension; leave out the dimensions that cannot move"
        )
    return space


def _observation_parts(
    space: gymnasium.Space[Any], name: str
) -> Iterator[tuple[tuple[str, ...], str, ArraySpec]]:
    """Path in the environment's observation, our key, and spec, for every array."""
    leaves = list(_leaves(space, (), name))
    keys = [_key(path, box) for path, box in leaves]
    doubles = sorted({key for key in keys if keys.count(key) > 1})
    if doubles:
        raise ConfigError(
            f"{name}: observation space {space} is unsupported: two arrays would be called "
            f"{doubles}; rename one (gymnasium.ObservationWrapper)"
        )
    for (path, box), key in zip(leaves, keys, strict=True):
        if _is_image(box):
            yield path, key, ArraySpec(box.shape, "uint8")
        else:
            yield path, key, ArraySpec((math.prod(box.shape),))


def _leaves(
    space: gymnasium.Space[Any], path: tuple[str, ...], name: str
) -> Iterator[tuple[tuple[str, ...], gymnasium.spaces.Box]]:
    if isinstance(space, gymnasium.spaces.Dict):
        if not len(space):
            raise ConfigError(f"{name}: observation space {space} is unsupported: it is empty")
        for key, child in space.items():
            yield from _leaves(child, (*path, key), name)
    elif isinstance(space, gymnasium.spaces.Box):
        yield path, space
    else:
        where = f" at '{'.'.join(path)}'" if path else ""
        raise ConfigError(
            f"{name}: observation space {space}{where} is unsupported: it is neither a Box nor a "
            "Dict of Boxes; flatten it (gymnasium.wrappers.FlattenObservation)"
        )


def _is_image(box: gymnasium.spaces.Box) -> bool:
    return box.dtype == np.uint8 and len(box.shape) == 3


def _key(path: tuple[str, ...], box: gymnasium.spaces.Box) -> str:
    if _is_image(box):
        camera = path[1:] if len(path) > 1 and path[0] in _CAMERAS else path or ("pixels",)
        return "images." + ".".join(camera).removeprefix("images.")
    joined = ".".join(path)
    return _RENAMED.get(joined, joined) if path else "state"
