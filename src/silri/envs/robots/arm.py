"""Any LeRobot robot with positions of joints: SO-101, Koch, plug-ins named ``lerobot_robot_*``.

An action says how far each joint's *target* moves, as a share of ``env.step``, so that taking over
and handing back never jump. Before a target leaves this process it is held

1. within ``env.step`` of the last one, and within the joint's limits;
2. within ``env.lead`` of where the joint really is: an arm that is held, or hits the table, is not
   wound up;

and the robot may hold it further. What was executed is what it says it was sent.

There is no force limit and no camera that sees a hand in the way. Keep the power switch near.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from silri.core.errors import ConfigError
from silri.core.lerobot import PREFIX, ROBOTS, connect, make, one_line
from silri.core.specs import ActionSpec, ArraySpec, EnvSpec, Observation
from silri.envs.gym.spaces import square
from silri.envs.robots.config import ArmConfig

POSITION = ".pos"
HOMING_S = 0.1  # between two commands on the way home
HOMING_SLACK = 3.0  # times what the way should take, until somebody is told
AT_HOME = 2.0  # units off that count as there

_log = logging.getLogger(__name__)


class Arm:
    """An environment around a connected robot.

    Observation: ``state`` (2J,), positions of the joints, then their targets, in the robot's units;
    ``images.<name>`` (S, S, 3) uint8 per camera. Action (J,): joints in the robot's order.

    Attributes:
        env_spec: what it observes and does.
    """

    def __init__(
        self, name: str, config: ArmConfig, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Connect; the arm holds where it is.

        Args:
            name: ``lerobot:TYPE``.
            config: how it is set up.
            sleep: between two commands on the way home.

        Raises:
            ConfigError: there is no such robot, it cannot be connected or is not calibrated, an
                option is wrong, or it is not driven by positions.
            MissingExtraError: lerobot is not installed.
        """
        self._name, self._config, self._sleep = name, config, sleep
        self._robot = make(ROBOTS, name.removeprefix(PREFIX), config.options)
        self._joints = _joints(name, self._robot.action_features)
        self._cameras = _cameras(name, self._robot.observation_features, config)
        self._low, self._high = _limits(name, self._joints, config)
        self._gripper = _gripper(name, self._joints, config)
        self._wait: Callable[[], None] = lambda: None
        self._steps, self._moved = 0, False
        self.env_spec = self._spec()
        self._home = np.full(len(self._joints), np.nan)
        for joint, position in config.home_by_joint().items():
            self._home[_index(name, self._joints, "env.home", joint)] = position
        connect(ROBOTS, self._robot, name.removeprefix(PREFIX), config.options)
        try:
            self._target = self._positions(self._robot.get_observation())
        except Exception as error:
            self.close()
            raise ConfigError(f"{name} does not say where it is: {one_line(error)}") from error
        begins = np.where(np.isnan(self._home), self._target, self._home)
        self._home = np.clip(begins, self._low, self._high)

    # -- the environment ------------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Go home, no faster than in an episode; what lies on the table is a person's to arrange.

        Raises:
            RuntimeError: something holds the arm.
        """
        del seed, options
        self._go_home()
        self._steps = 0
        return self.observe(), {}

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One decision; success is said by a person or a classifier, never here."""
        before = self._target
        wanted = before + np.asarray(action, np.float64) * self._config.step
        for index in self.env_spec.action.gripper:
            closed, opened = self._config.gripper_range
            wanted[index] = closed if action[index] > 0 else opened
        self._send(wanted)
        self._wait()
        self._steps += 1
        info = {
            "success": False,
            "grasp_penalty": self._penalty(before),
            "executed": self._executed(before, action),
        }
        out_of_time = self._steps >= self.env_spec.max_episode_steps
        return self.observe(), self._config.step_reward, False, out_of_time, info

    def observe(self) -> Observation:
        """What its sensors say now."""
        seen = self._robot.get_observation()
        self._measured = self._positions(seen)
        state = np.concatenate([self._measured, self._target]).astype(np.float32)
        size = self._config.image_size
        pictures = {f"images.{name}": _picture(seen[name], size) for name in self._cameras}
        return {"state": state, **pictures}

    def pace(self, wait: Callable[[], None]) -> None:
        """See :class:`~silri.core.protocols.SelfPaced`: called between command and sensing."""
        self._wait = wait

    def close(self) -> None:
        """Go home if it can, then let go: an arm without torque falls."""
        robot = self._robot
        if not robot.is_connected:
            return
        try:
            if self._moved:
                self._go_home()
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            _log.warning("%s is let go where it is: %s", self._name, one_line(error))
        with contextlib.suppress(OSError, RuntimeError):  # it is gone already
            robot.disconnect()

    # -- commands -------------------------------------------------------------------------------

    def _send(self, wanted: np.ndarray) -> None:
        """Command a target, held as the module's docstring says; remember what it became."""
        measured, lead = self._measured, self._config.lead
        allowed = np.clip(wanted, self._low, self._high)
        held = np.clip(allowed, measured - lead, measured + lead)
        if self._gripper is not None:  # it closes on things, and is to hold them
            held[self._gripper] = allowed[self._gripper]
        self._moved = True
        sent = self._robot.send_action(dict(zip(self._joints, map(float, held), strict=True)))
        self._target = np.asarray(
            [float((sent or {}).get(joint, held[i])) for i, joint in enumerate(self._joints)]
        )

    def _penalty(self, before: np.ndarray) -> float:
        """What a step costs that opens or closes a discrete gripper."""
        grips = list(self.env_spec.action.gripper)
        changed = not np.allclose(before[grips], self._target[grips])
        return self._config.grasp_penalty if changed else 0.0

    def _executed(self, before: np.ndarray, action: np.ndarray) -> np.ndarray:
        """(A,) in [-1, 1]: the motion of the target that was really commanded."""
        executed = np.clip((self._target - before) / self._config.step, -1.0, 1.0)
        for index in self.env_spec.action.gripper:
            executed[index] = action[index]
        return executed.astype(np.float32)

    def _go_home(self) -> None:
        """In straight lines of joints, ``env.step`` per tenth of a second."""
        self._measured = self._positions(self._robot.get_observation())
        # It may have fallen, or been moved by hand, while nothing was commanded.
        lost = np.abs(self._target - self._measured) > self._config.lead
        self._target = np.where(lost, self._measured, self._target)
        way = float(np.max(np.abs(self._home - self._measured)))
        for _ in range(int(HOMING_SLACK * (way / self._config.step + 20))):
            off = np.abs(self._home - self._measured)
            if self._gripper is not None:
                off[self._gripper] = 0.0  # it may hold something
            if off.max() <= AT_HOME and np.allclose(self._target, self._home, atol=1e-3):
                return
            step = np.clip(self._home - self._target, -self._config.step, self._config.step)
            self._send(self._target + step)
            self._sleep(HOMING_S)
            self._measured = self._positions(self._robot.get_observation())
        worst = int(np.argmax(off))
        raise RuntimeError(
            f"{self._name} does not reach its home: {self._joints[worst].removesuffix(POSITION)} "
            f"is at {self._measured[worst]:.1f}, not {self._home[worst]:.1f}; is something in its "
            "way?"
        )

    # -- what it is -----------------------------------------------------------------------------

    def _positions(self, seen: Mapping[str, Any]) -> np.ndarray:
        return np.asarray([float(seen[joint]) for joint in self._joints])

    def _spec(self) -> EnvSpec:
        size, config = len(self._joints), self._config
        grips = () if self._gripper is None or config.gripper == "continuous" else (self._gripper,)
        picture = ArraySpec((config.image_size, config.image_size, 3), "uint8")
        return EnvSpec(
            self._name,
            {
                "state": ArraySpec((2 * size,)),
                **{f"images.{name}": picture for name in self._cameras},
            },
            ActionSpec(size, grips),
            max_episode_steps=config.max_episode_steps,
        )


def _joints(name: str, features: Mapping[str, Any]) -> list[str]:
    """Names of what is commanded, all of them positions."""
    joints = list(features)
    if odd := [joint for joint in joints if not joint.endswith(POSITION)]:
        raise ConfigError(
            f"{name} is not driven by positions of joints alone, it takes {', '.join(odd)}: write "
            "an environment of your own around it (docs/guides/own_environment.md)"
        )
    if not joints:
        raise ConfigError(f"{name} has nothing to drive")
    return joints


def _index(name: str, joints: list[str], setting: str, joint: str) -> int:
    known = [each.removesuffix(POSITION) for each in joints]
    if joint not in known:
        raise ConfigError(f"{setting}: {name} has no joint '{joint}'; it has {', '.join(known)}")
    return known.index(joint)


def _limits(name: str, joints: list[str], config: ArmConfig) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.full(len(joints), -np.inf), np.full(len(joints), np.inf)
    for joint, (least, most) in config.limits_by_joint().items():
        index = _index(name, joints, "env.limits", joint)
        low[index], high[index] = least, most
    return low, high


def _gripper(name: str, joints: list[str], config: ArmConfig) -> int | None:
    """Which joint closes; an arm without one has none."""
    if config.gripper_joint is None or f"{config.gripper_joint}{POSITION}" not in joints:
        if config.gripper_joint not in (None, ArmConfig().gripper_joint):
            _index(name, joints, "env.gripper_joint", str(config.gripper_joint))
        return None
    return joints.index(f"{config.gripper_joint}{POSITION}")


def _cameras(name: str, features: Mapping[str, Any], config: ArmConfig) -> list[str]:
    cameras = [key for key, kind in features.items() if isinstance(kind, tuple)]
    if config.image_keys is None:
        return cameras
    if missing := [key for key in config.image_keys if key not in cameras]:
        raise ConfigError(
            f"env.image_keys: {name} has no camera '{missing[0]}'; it has "
            f"{', '.join(cameras) or 'none'} (--env.options cameras.NAME.type=opencv ...)"
        )
    return list(config.image_keys)


def _picture(given: Any, size: int) -> Any:
    """The middle square of (H, W, 3) bytes; what is no picture is refused by the spec, by name."""
    array = np.asarray(given)
    return square(array, size) if array.ndim == 3 and array.dtype == np.uint8 else given
