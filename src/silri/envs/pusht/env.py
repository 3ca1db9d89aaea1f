"""Push-T (``silri[pusht]``): push a T into its outline on a table, with a round pusher.

Physics, layouts and success (the T covers 95 % of its outline) are ``gym-pusht``'s, whose table is
512 pixels wide; here a pixel is a millimetre. Its action is the place where the pusher is to go, so
that a takeover drags it across the table, and the T with it. Here an action is (2,): right and down
in the picture, as shares of 0.025 m per decision by which the place moves that the pusher is told
to go to. It follows within about three decisions.

The episode ends with success; a time-out is not an end, and bootstraps. There is no gripper.
"""

from __future__ import annotations

import os
from typing import Any

import gymnasium
import numpy as np

from silri.core.errors import ConfigError, MissingExtraError
from silri.core.foreign import said
from silri.core.protocols import Privileged
from silri.envs.config import PushTConfig
from silri.envs.gym.adapter import GymEnv, env_from
from silri.envs.pusht.expert import Pusher

STEP = 0.025  # metres per decision of a full action
METRE = 1000.0  # pixels
_TABLE = 512.0  # pixels per side
_SCENE = 256  # pixels of the picture for a person
_BROKEN = "gym-pusht is installed, and cannot be imported ({}): pip install --force-reinstall "


def create(name: str, config: PushTConfig) -> GymEnv:
    """Build the simulation.

    Raises:
        MissingExtraError: gym-pusht is not installed.
        ConfigError: it is, and cannot be imported: a library that it needs does not fit.
    """
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # it greets on standard output
    try:
        from gym_pusht.envs.pusht import PushTEnv
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "gym_pusht":
            raise MissingExtraError("pusht", f"'{name}'") from error
        raise ConfigError(_BROKEN.format(said(error)) + "'silri[pusht]'") from error
    except ImportError as error:  # OpenCV without its libraries, say
        raise ConfigError(_BROKEN.format(said(error)) + "'silri[pusht]'") from error
    size = config.image_size or 96
    raw = PushTEnv(
        obs_type="environment_state_agent_pos",
        observation_width=size,
        observation_height=size,
        visualization_width=_SCENE,
        visualization_height=_SCENE,
    )
    made = env_from(PushT(raw, config), name, config)
    vars(made)["view"] = [[1.0, 0.0], [0.0, -1.0]]  # for the arrow keys of a page: (right, up) each
    return made


class PushT(gymnasium.Env[Any, np.ndarray]):
    """The task with relative actions and an expert.

    Observation: ``agent_pos`` (4,) = xy of the pusher and of the place that it is told to go to;
    and ``environment_state`` (16,), xy of the T's eight corners, or the picture ``top``. Metres
    from the upper left corner of the picture, to the right and down.
    """

    directions = ("right", "back")

    def __init__(self, raw: Any, config: PushTConfig) -> None:
        """Take over upstream's environment."""
        self._raw, self._pixels = raw, config.observation == "pixels"
        self._told = np.zeros(2)
        self._pusher: Pusher | None = None
        box = gymnasium.spaces.Box
        size = raw.observation_width
        seen: dict[str, Any] = (
            {"pixels": gymnasium.spaces.Dict({"top": box(0, 255, (size, size, 3), np.uint8)})}
            if self._pixels
            else {"environment_state": box(-np.inf, np.inf, (16,), np.float32)}
        )
        place = box(-np.inf, np.inf, (4,), np.float32)
        self.observation_space = gymnasium.spaces.Dict({"agent_pos": place, **seen})
        self.action_space = box(-1.0, 1.0, (2,), np.float32)
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": raw.control_hz}
        self.render_mode = "rgb_array"

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start an episode; T and pusher are where ``seed`` says."""
        del options  # Gymnasium's signature; there are none
        super().reset(seed=seed)
        self._raw.reset(seed=seed)
        self._told = np.array(self._raw.agent.position)
        if self._pusher is None:
            self._pusher = Pusher(self._raw.goal_pose)
        self._pusher.reset()
        return self._observation(), {"layout": np.array([*self._told, *self._body]) / METRE}

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Move the place that the pusher is told to go to by ``action`` (2,)."""
        self._told = np.clip(self._told + action * (STEP * METRE), 0.0, _TABLE)
        _, reward, terminated, truncated, info = self._raw.step(self._told)
        info = {"success": bool(info["is_success"]), "coverage": float(info["coverage"])}
        return self._observation(), float(reward), bool(terminated), bool(truncated), info

    def privileged(self) -> Privileged:
        """Where two pushes bring the T: see :mod:`silri.envs.pusht.expert`."""
        raw, body = self._raw, self._body
        pusher = np.array(raw.agent.position)
        assert self._pusher is not None
        target = np.clip(self._pusher.target(body, pusher), 0.0, _TABLE)
        # Half of what is left: a person's hand is late, and would go past it.
        action = (0.5 * (target - self._told) / (STEP * METRE)).astype(np.float32)
        place, goal = Pusher.pose(body), Pusher.pose(np.asarray(raw.goal_pose))
        hand, thing, there = (_metres(at) for at in (pusher, place[:2], goal[:2]))
        return Privileged(action, hand=hand, object=thing, goal=there)

    def render(self) -> np.ndarray:
        """(256, 256, 3) uint8: the table from above; a cross is where the pusher is told to go."""
        return np.asarray(self._raw.render(), np.uint8)

    def close(self) -> None:
        """Release the simulator."""
        self._raw.close()

    @property
    def _body(self) -> np.ndarray:
        """(3,) pixels, pixels and radians of the T's own frame."""
        block = self._raw.block
        return np.array([*block.position, block.angle])

    def _observation(self) -> dict[str, Any]:
        raw = self._raw
        place = np.array([*raw.agent.position, *self._told]) / METRE
        seen: dict[str, Any] = {"agent_pos": place.astype(np.float32)}
        if self._pixels:
            return {**seen, "pixels": {"top": np.asarray(raw._render(), np.uint8)}}
        corners = raw.get_keypoints(raw._block_shapes).ravel() / METRE
        return {**seen, "environment_state": corners.astype(np.float32)}


def _metres(pixels: np.ndarray) -> np.ndarray:
    """(3,) metres on the table of (2,) pixels."""
    return np.array([*pixels, 0.0]) / METRE
