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
environment's own range, each dimension by itself. ``env.image_keys`` keeps some of the cameras,
``env.image_size`` crops their pictures to the middle square and resizes it.

Its ``metadata["render_fps"]``, steps per second, gives the rate of datasets; without it they have
10 decisions per second.

What else it offers is offered here, behind any wrappers: ``privileged``, ``observe``, ``disturb``
with ``disturbances``, ``pace`` and ``directions``, as in :mod:`silri.core.protocols`.

Gymnasium has no word for where positions are in a vector. An environment that wants random shifts
says so in its ``metadata``: ``{"points": {"state": [[0, 1]]}}``, silri's keys to indices of
positions in metres, the hand's first, as in :class:`~silri.core.specs.EnvSpec`; likewise with
``"objects"`` and ``"goals"`` which of them are what the task moves, and where to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.wrappers import TimeLimit

from silri.core.errors import ConfigError, EnvironmentFault, SpecError
from silri.core.foreign import usable
from silri.core.specs import UNKNOWN_HZ, ActionSpec, EnvSpec, Observation
from silri.core.values import number, truth
from silri.envs.config import GymConfig
from silri.envs.gym.spaces import ActionScaling, action_box, observation_parts, select_images
from silri.envs.success import Success

_RESET = ("reset", ("observation", "info"))
_STEP = ("step", ("observation", "reward", "terminated", "truncated", "info"))
# of silri.core.protocols
_OFFERS = ("privileged", "disturb", "disturbances", "observe", "pace", "directions")
_RGB = "rgb_array"  # Gymnasium's render mode that gives pictures


class GymEnv(gymnasium.Env[Any, np.ndarray]):
    """A Gymnasium environment as :class:`silri.core.protocols.Env`.

    ``info["success"]`` is what ``config.describe_success`` says; ``info["judged"]``, whether
    anything has said so. With the environment's own reward (the default) its terminations stand;
    with ``reward="sparse"`` success terminates as well, unless ``end_on_success`` is False, and
    rewards are the configuration's.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], name: str, config: GymConfig) -> None:
        """Adapt ``env``.

        Args:
            env: anything that follows Gymnasium's API.
            name: for messages and ``env_spec``.
            config: see :class:`~silri.envs.config.GymConfig`.

        Raises:
            ConfigError: a space is unsupported, or there is no step limit.
        """
        parts = observation_parts(env.observation_space, name)
        self._parts = select_images(parts, name, config.image_keys, config.image_size)
        box = action_box(env.action_space, name)
        self.scaling = ActionScaling(box)
        self._env, limit = _limit_steps(env, name, config)
        self.config, self._name = config, name
        self._success = Success(config, name)
        self._sparse = config.sparse
        self._ends = config.sparse and config.end_on_success
        self._repeat = config.action_repeat
        action = ActionSpec(math.prod(box.shape), config.gripper_dims)
        self.env_spec = EnvSpec(
            name=name,
            observation={part.key: part.spec for part in self._parts},
            action=action,
            max_episode_steps=limit,
            control_hz=_control_hz(env, name, self._repeat),
            points=env.metadata.get("points", {}),
            objects=env.metadata.get("objects", {}),
            goals=env.metadata.get("goals", {}),
        )
        self.observation_space = gymnasium.spaces.Dict(
            {
                key: gymnasium.spaces.Box(0, 255, spec.shape, np.uint8)
                if spec.is_image
                else gymnasium.spaces.Box(-np.inf, np.inf, spec.shape, np.float32)
                for key, spec in self.env_spec.observation.items()
            }
        )
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (action.size,), np.float32)
        self._gripper = list(config.gripper_dims)
        self._active = False
        self._offer(env)

    def _offer(self, env: gymnasium.Env[Any, Any]) -> None:
        """Pass on what ``env``, or the outermost wrapper that has it, can do beside Gymnasium's."""
        # Into the instance: runtime protocols are checked by what is really there.
        for name in _OFFERS:
            if env.has_wrapper_attr(name):
                vars(self)[name] = env.get_wrapper_attr(name)
        words = vars(self).get("directions", ())
        if not (isinstance(words, tuple) and all(isinstance(word, str) for word in words)):
            del vars(self)["directions"]  # it means something else by that name
        if env.has_wrapper_attr("observe"):
            look = env.get_wrapper_attr("observe")
            vars(self)["observe"] = lambda: self._observation(look())
        if "pace" in vars(self) and self._repeat > 1:
            raise ConfigError(
                f"env.action_repeat = {self._repeat}: {self.env_spec.name} paces itself, one step "
                "per control period; it takes 1, or none"
            )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode; ``seed`` and ``options`` go to the environment.

        Raises:
            SpecError: the observation does not fit the spec; NonFiniteError if it is not finite.
        """
        raw, info = _values(self._env.reset(seed=seed, options=options), _RESET, self._name)
        self._success.begin()
        self._closed = np.full(len(self._gripper), self.env_spec.action.gripper_values[0])
        self._active = True
        return self._observation(raw), {**info, "success": False}

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Repeat ``action`` (A,) in [-1, 1] for ``action_repeat`` steps, or until the end.

        Raises:
            EnvironmentFault: the episode is over.
            SpecError: the observation does not fit the spec, or the reward, an end or the success
                is no number or truth value; NonFiniteError if the observation, or ``action``, is
                not finite.
        """
        if not self._active:
            raise EnvironmentFault(f"{self.env_spec.name}: step() without reset()")
        spec = self.env_spec.action
        command = spec.snap(spec.validate("action", action))
        scaled = self.scaling.to_env(command)
        total, success = 0.0, False
        for _ in range(self._repeat):
            values = _values(self._env.step(scaled), _STEP, self._name)
            raw, reward, terminated, truncated, info = values
            reward = number(f"{self._name}: the reward of step()", reward)
            terminated = truth(f"{self._name}: terminated of step()", terminated)
            truncated = truth(f"{self._name}: truncated of step()", truncated)
            total += reward
            success = self._success.judge(info, terminated, truncated, reward)
            if terminated or truncated or (success and self._ends):
                break
        if self._sparse:
            terminated = terminated or (success and self._ends)
            total = self.config.success_reward if success else self.config.step_reward
        truncated = truncated and not terminated
        self._active = not (terminated or truncated)
        moved = bool((command[self._gripper] != self._closed).any())
        self._closed = command[self._gripper]
        penalty = self.config.grasp_penalty if moved else 0.0
        judged = {"success": success, "judged": self._success.judged}
        info = {**info, **judged, "grasp_penalty": penalty}
        return self._observation(raw), total, terminated, truncated, info

    def render(self) -> np.ndarray | None:
        """(H, W, 3) uint8, if it was made for pictures: see :func:`create`.

        Raises:
            SpecError: it is something else; floats would come out black.
        """
        drawn = self._env.render() if self._env.render_mode == _RGB else None
        if drawn is None:
            return None
        picture = np.asarray(drawn)
        if picture.dtype.kind in "iu" and 0 <= picture.min(initial=0) <= picture.max() < 256:
            picture = picture.astype(np.uint8)
        if picture.dtype != np.uint8 or picture.shape[2:] != (3,):
            raise SpecError(
                f"{self._name}: render() gave {picture.dtype} {picture.shape}; it takes uint8 of "
                "(height, width, 3), 0 to 255"
            )
        return picture

    @property
    def judges(self) -> bool:
        """Whether anything has said of an episode so far whether the task was done."""
        return self._success.ever

    def close(self) -> None:
        """Close the environment."""
        self._env.close()

    def _observation(self, raw: Any) -> Observation:
        """Pick the parts out of the environment's own observation, checked against the spec."""
        observation: dict[str, Any] = {}
        for part in self._parts:
            value = raw
            for step in part.path:
                if not isinstance(value, Mapping) or step not in value:
                    raise EnvironmentFault(
                        f"{self.env_spec.name}: the observation has no '{'.'.join(part.path)}'"
                    )
                value = value[step]
            observation[part.key] = part.take(value)
        return self.env_spec.validate_observation(observation)


def env_from(env: gymnasium.Env[Any, Any], name: str, config: GymConfig | None = None) -> GymEnv:
    """Adapt an environment object that is not registered.

    Args:
        env: anything that follows Gymnasium's API. With a ``privileged()`` method, whose
            ``expert_action`` is in silri's [-1, 1], it can be driven by simulated operators.
        name: for messages and ``env_spec``.
        config: limits, reward and grippers; None takes the defaults.

    Raises:
        ConfigError: a space is unsupported, or there is no step limit.
    """
    return GymEnv(env, name, GymConfig() if config is None else config)


def create(identifier: str, config: GymConfig, *, pictures: bool = False) -> GymEnv:
    """Make and adapt the registered id.

    Args:
        identifier: of Gymnasium's registry.
        config: see :func:`env_from`.
        pictures: make it so that ``render`` gives some, if it can.

    Raises:
        ConfigError: see :func:`env_from`.
    """
    mode: dict[str, Any] = {"render_mode": _RGB} if pictures and _draws(identifier) else {}
    # Gymnasium's own checker warns about what we check ourselves, with remedies.
    with usable(f"Gymnasium cannot make '{identifier}'"):
        env = gymnasium.make(identifier, disable_env_checker=True, **mode)
    return env_from(env, f"gym/{identifier}", config)


def _draws(identifier: str) -> bool:
    """Whether the registered class says that it can give pictures."""
    made_by = gymnasium.spec(identifier).entry_point
    kind = (
        gymnasium.envs.registration.load_env_creator(made_by)
        if isinstance(made_by, str)
        else made_by
    )
    return _RGB in getattr(kind, "metadata", {}).get("render_modes", ())


def _values(returned: Any, method: tuple[str, tuple[str, ...]], name: str) -> tuple[Any, ...]:
    """What a method returned, if it is what Gymnasium says.

    Raises:
        EnvironmentFault: it is something else; unpacked, a dict would pass for its keys.
    """
    called, parts = method
    takes = f"{name}: {called}() is to return ({', '.join(parts)})"
    if not isinstance(returned, tuple) or len(returned) != len(parts):
        got = f"{len(returned)} values" if isinstance(returned, tuple) else type(returned).__name__
        raise EnvironmentFault(f"{takes}, got {got}")
    if not isinstance(returned[-1], Mapping):
        raise EnvironmentFault(f"{takes}; its info is {type(returned[-1]).__name__}, not a dict")
    return returned


def _control_hz(env: gymnasium.Env[Any, Any], name: str, repeat: int) -> float:
    """Decisions per second, from the frames per second that Gymnasium's metadata has."""
    fps = env.metadata.get("render_fps")
    if fps is None:
        return UNKNOWN_HZ
    if not isinstance(fps, int | float | np.number) or not 0 < fps < math.inf:
        raise ConfigError(f"metadata['render_fps'] of {name} takes Hz > 0, got {fps!r}")
    return round(float(fps) / repeat, 6)


def _limit_steps(
    env: gymnasium.Env[Any, Any], name: str, config: GymConfig
) -> tuple[gymnasium.Env[Any, Any], int]:
    """The environment with a step limit, and that limit in decisions."""
    repeat = config.action_repeat
    registered = _own_limit(env)
    if config.max_episode_steps is None:
        if registered is None:
            raise ConfigError(
                f"{name} has no step limit; give one: --env.max-episode-steps 200 (in Python "
                "max_episode_steps=200), or register it with max_episode_steps"
            )
        return env, math.ceil(registered / repeat)
    if registered is not None:
        env = _without_time_limit(env)
    return TimeLimit(env, config.max_episode_steps * repeat), config.max_episode_steps


def _own_limit(env: gymnasium.Env[Any, Any]) -> int | None:
    """Steps until the time-out that ``env`` has: as it is registered, or by a wrapper."""
    if env.spec is not None and env.spec.max_episode_steps is not None:
        return env.spec.max_episode_steps
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, TimeLimit):
            return env._max_episode_steps
        env = env.env
    return None


def _without_time_limit(env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    """``gymnasium.make`` puts its TimeLimit outermost; ours replaces it."""
    return env.env if isinstance(env, TimeLimit) else env
