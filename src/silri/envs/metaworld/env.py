"""Meta-World's fifty tasks, one layout per seed.

Built from the environment classes and not from ``MT1``, which replays 50 fixed layouts and whose
``reset(seed=)`` decides nothing. What differs from ``SawyerXYZEnv.step`` and ``.reset``, and why:

- *The goal stays in the observation.* Upstream caches an observation space from before the goal
  was made observable and clips every observation to it: the goal reads zero after the first step.
  Nothing is clipped here.
- *One layout per reset.* Upstream's reset runs ``reset_model`` twice with a layout each, simulates
  the hand in the first one and reports object positions of it. Here the first pass draws and only
  places; the second, from clean MuJoCo data, moves the hand with everything where it will be.
- *Nothing is left over.* Model arrays that tasks write (body and site positions) are restored, so
  that a seed gives the same episode on a new environment and on a used one.
- *Instability is an error.* MuJoCo resets itself when its state diverges, counts a warning and
  goes on; here that is an :class:`~silri.core.errors.EnvironmentFault`.

Physics, observations and success are upstream's own, number for number (tested for all tasks).
"""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import mujoco
import numpy as np
from metaworld.env_dict import ALL_V3_ENVIRONMENTS

from silri.core.errors import ConfigError, EnvironmentFault
from silri.core.protocols import Privileged
from silri.core.registry import unknown_name
from silri.core.specs import ActionSpec, ArraySpec, EnvSpec, Observation
from silri.envs.config import MetaworldConfig
from silri.envs.metaworld.cameras import Cameras
from silri.envs.metaworld.disturbance import TARGETS, Disturber
from silri.envs.metaworld.tasks import GRIP, REACHING, quiet_expert
from silri.envs.metaworld.view import View

GRIPPER = 3  # index in the action; 0, 1, 2 move the hand
_FRAME = 18  # hand xyz, gripper opening, 14 numbers for up to two objects
# Upstream's vector is frame (18), last frame (18), goal (3); these pick our two keys out of it.
_STATE = np.r_[0:4, 18:22]
_ENVIRONMENT_STATE = np.r_[4:18, 22:36, 36:39]
_MAX_REDRAWS = 10_000
_DIVERGED = (
    mujoco.mjtWarning.mjWARN_BADQPOS,
    mujoco.mjtWarning.mjWARN_BADQVEL,
    mujoco.mjtWarning.mjWARN_BADQACC,
    mujoco.mjtWarning.mjWARN_BADCTRL,
)


class MetaworldEnv(gymnasium.Env[Any, np.ndarray]):
    """One Meta-World task as :class:`silri.core.protocols.Env`; actions (4,) in [-1, 1].

    Observation: ``state`` (8,) = hand xyz in metres and gripper opening in [0, 1], of this frame
    and the last; ``environment_state`` (31,) = objects (14,) of this frame and the last, goal (3,).
    A *frame* is one simulator step (1/80 s), so with ``action_repeat`` 2 the last frame lies
    within the last decision. With ``observation="pixels"`` two cameras stand in the place of
    ``environment_state``: see :mod:`silri.envs.metaworld.cameras`.
    """

    def __init__(self, task: str, config: MetaworldConfig) -> None:
        """Build the simulator.

        Args:
            task: a key of Meta-World's table, e.g. ``drawer-open-v3``.
            config: see :class:`~silri.envs.config.MetaworldConfig`.
        """
        self._config = config
        # Seen from the arm's base, y is away from it.
        grip = () if config.gripper == "discrete" else ("gripper",)
        self.directions: tuple[str, ...] = ("right", "forward", "up", *grip)
        self._repeat = config.action_repeat
        self._discrete = config.gripper == "discrete"
        self._grip = GRIP.get(task, 1.0)
        self._own_reward = not config.sparse
        self._build(task)
        self._pixels = config.observation == "pixels"
        cameras = Cameras.spec(config.image_size)
        scene = {"environment_state": ArraySpec((_ENVIRONMENT_STATE.size,))}
        always = task in REACHING or self._own_reward  # the goal matters
        self.env_spec = EnvSpec(
            name=f"metaworld/{task}",
            observation={
                "state": ArraySpec((_STATE.size,)),
                **(cameras if self._pixels else scene),
            },
            action=ActionSpec(4, (GRIPPER,) if self._discrete else ()),
            max_episode_steps=config.max_episode_steps,
            control_hz=self._control_hz(),
            **({} if self._pixels else _points(len(self._raw._get_pos_objects()) // 3, always)),
        )
        self.observation_space = gymnasium.spaces.Dict(
            {
                key: gymnasium.spaces.Box(0, 255, array.shape, np.uint8)
                if array.is_image
                else gymnasium.spaces.Box(-np.inf, np.inf, array.shape, np.float32)
                for key, array in self.env_spec.observation.items()
            }
        )
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (4,), np.float32)
        self._expert = quiet_expert(task)
        target = TARGETS.get(task)
        self.disturbances: tuple[str, ...] = () if target is None else target.kinds
        self._disturber = None if target is None else Disturber(self._raw, target)
        self._layout: np.ndarray | None = None
        self._redraws = 0
        self._view: View | None = None
        # Opened here: who wants to learn from cameras is to hear at once that nothing draws.
        self._cameras = Cameras(self._raw.model, config.image_size) if self._pixels else None
        self._observed = np.zeros(2 * _FRAME + 3)
        self._step: int | None = None  # None: the episode is over, or none has begun
        self._gripper = -1.0

    def _control_hz(self) -> float:
        """Decisions per simulated second: 40 at the default repeat."""
        step = self._raw.model.opt.timestep * self._raw.frame_skip  # 1/80 s
        return round(1.0 / (step * self._repeat), 6)  # without the digits of binary fractions

    def _build(self, task: str) -> None:
        """The simulator, with the hooks that make a layout ours."""
        raw: Any = ALL_V3_ENVIRONMENTS[task]()  # Any: most of what follows is private upstream
        self._raw = raw
        raw._partially_observable = False
        raw._set_task_called = True
        raw._freeze_rand_vec = False
        raw.seeded_rand_vec = True
        vars(raw).pop("sawyer_observation_space", None)  # the cache that hides the goal
        vars(raw)["_get_state_rand_vec"] = self._draw_layout
        if not self._own_reward:
            # Parts of the dense reward and half of a step's time. Success does not need them, but
            # for one task, where what was pushed must still be held.
            if task != "stick-push-v3":
                vars(raw)["touching_object"] = lambda _: False
            vars(raw)["_gripper_caging_reward"] = lambda *_, **__: 0.0
        box = raw._random_reset_space
        assert box is not None  # every task has one
        self._low, self._high = np.array(box.low), np.array(box.high)
        if self._config.reset_range is not None:
            center = (self._low + self._high) / 2
            self._low = np.maximum(self._low, center - self._config.reset_range)
            self._high = np.minimum(self._high, center + self._config.reset_range)
        self._hand, self._right, self._left = (
            raw.model.body(name).id for name in ("hand", "rightclaw", "leftclaw")
        )
        self._pristine = [
            (array, array.copy())
            for array in (
                raw.model.body_pos,
                raw.model.body_quat,
                raw.model.site_pos,
                raw.model.site_quat,
                raw.model.geom_pos,
                raw.model.eq_data,
            )
        ]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode in the layout that ``seed`` decides (None: the next one).

        Returns:
            The observation, and ``info`` with ``layout``: the drawn (3,) or (6,) metres.

        Raises:
            ConfigError: if the box of ``reset_range`` has no layout that the task accepts.
        """
        del options  # Gymnasium's signature; there are none
        super().reset(seed=seed)
        raw = self._raw
        for array, pristine in self._pristine:
            array[:] = pristine
        self._layout, self._redraws = None, 0
        vars(raw)["_reset_hand"] = self._skip_hand
        mujoco.mj_resetData(raw.model, raw.data)
        raw.reset_model()  # draws until the task accepts, and places
        del vars(raw)["_reset_hand"]
        layout = self._layout = self._drawn
        mujoco.mj_resetData(raw.model, raw.data)
        raw.reset_model()  # the same layout again; the hand moves to its start
        self._arrange()
        mujoco.mj_forward(raw.model, raw.data)
        self._frame = self._read_frame()
        self._observe(self._frame)
        if self._disturber is not None:
            self._disturber.begin()
        self._step = 0
        self._gripper = -1.0
        return self._observation(), {"success": False, "layout": layout.copy()}

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Repeat ``action`` (4,) for ``action_repeat`` simulator steps, or until success ends it.

        Raises:
            EnvironmentFault: the simulation diverged, or the episode is over.
            NonFiniteError: NaN or infinity in ``action``.
        """
        if self._step is None:
            raise EnvironmentFault(f"{self.env_spec.name}: step() without reset()")
        command = np.clip(self.env_spec.action.validate("action", action), -1.0, 1.0)
        penalty = 0.0
        if self._discrete:
            closing = 1.0 if command[GRIPPER] > 0 else -1.0
            penalty = self._config.grasp_penalty if closing != self._gripper else 0.0
            self._gripper = closing
            command[GRIPPER] = self._grip if closing > 0 else -1.0
        own_reward, success = 0.0, False
        for _ in range(self._repeat):
            own, success = self._simulate(command)
            own_reward += own
            if success and self._config.end_on_success:
                break
        self._step += 1
        terminated = success and self._config.end_on_success
        truncated = not terminated and self._step >= self.env_spec.max_episode_steps
        if terminated or truncated:
            self._step = None
        sparse = self._config.success_reward if success else self._config.step_reward
        reward = own_reward if self._own_reward else sparse
        info = {"success": success, "grasp_penalty": penalty}
        return self._observation(), reward, terminated, truncated, info

    def privileged(self) -> Privileged:
        """The truth about the current state, with the scripted expert's action."""
        # A copy: the experts of the two door tasks write into what they are shown.
        action = np.asarray(self._expert.get_action(self._observed.copy()), np.float32)
        if self._discrete:
            action[GRIPPER] = 1.0 if action[GRIPPER] > 0 else -1.0
        observed = self._observed
        return Privileged(
            expert_action=action,
            hand=observed[0:3].copy(),
            object=observed[4:7].copy(),
            goal=observed[36:39].copy(),
        )

    def disturb(self, kind: str, rng: np.random.Generator) -> bool:
        """Move the object, as :mod:`silri.envs.metaworld.disturbance` says.

        The observation that a policy already has does not show it; the next one does.

        Args:
            kind: one of ``disturbances``.
            rng: decides where to; untouched in a state to which ``kind`` does not apply.

        Returns:
            False if ``kind`` does not apply now; then nothing has changed.

        Raises:
            UnknownNameError: the task offers no such kind.
            EnvironmentFault: the episode is over.
        """
        if kind not in self.disturbances or self._disturber is None:
            what = f"disturbance of {self.env_spec.name}"
            raise unknown_name(what, kind, self.disturbances or ("none",))
        if self._step is None:
            raise EnvironmentFault(f"{self.env_spec.name}: disturb() without reset()")
        happened = self._disturber.disturb(kind, rng)
        if happened:  # the expert sees it at once
            last, self._frame = self._frame, self._read_frame()
            self._observe(last)
        return happened

    def render(self) -> np.ndarray:
        """(256, 256, 3) uint8: the table from the front right, above; nothing moves.

        Raises:
            EnvironmentFault: there is no OpenGL to draw with; says how to get some.
        """
        if self._view is None:
            self._view = View(self._raw.model)
        return self._view.draw(self._raw.data)

    @property
    def view(self) -> list[list[float]]:
        """Where +1 of each action moves the hand in a picture: (right, up) each."""
        return View.directions()

    def close(self) -> None:
        """Release the simulator."""
        for drawing in (self._view, self._cameras):
            if drawing is not None:
                drawing.close()
        self._view = self._cameras = None
        self._raw.close()

    def _draw_layout(self) -> np.ndarray:
        """Stands in for upstream's draw; tasks call it again while a layout does not suit them."""
        if self._layout is not None:
            return self._layout.copy()
        if self._redraws >= _MAX_REDRAWS:
            raise ConfigError(
                f"env.reset_range = {self._config.reset_range!r}: {self.env_spec.name} keeps a "
                f"distance between object and goal, and none of {_MAX_REDRAWS} layouts had it; "
                "it takes a wider range, or none"
            )
        self._redraws += 1
        self._drawn = self.np_random.uniform(self._low, self._high)
        return self._drawn.copy()

    def _skip_hand(self, steps: int = 50) -> None:
        """Stands in for 250 simulator steps in the pass whose outcome is thrown away."""
        del steps
        mujoco.mj_forward(self._raw.model, self._raw.data)
        self._raw.init_tcp = self._raw.tcp_center

    def _simulate(self, command: np.ndarray) -> tuple[float, bool]:
        """One simulator step of 1/80 s; upstream's reward and success."""
        raw, data = self._raw, self._raw.data
        target = data.mocap_pos + command[:3] * raw.action_scale
        data.mocap_pos[:] = np.minimum(np.maximum(target, raw.mocap_low), raw.mocap_high)
        data.mocap_quat[:] = (1.0, 0.0, 1.0, 0.0)
        data.ctrl[:] = (command[GRIPPER], -command[GRIPPER])
        mujoco.mj_step(raw.model, data, nstep=raw.frame_skip)
        mujoco.mj_forward(raw.model, data)
        last, self._frame = self._frame, self._read_frame()
        self._observe(last)
        if any(data.warning[kind].number for kind in _DIVERGED) or not math.isfinite(
            self._observed.sum()
        ):
            self._step = None
            raise EnvironmentFault(
                f"{self.env_spec.name}: the simulation diverged at {data.time:.3f} s"
            )
        return self._judge(command)

    def _arrange(self) -> None:
        """For whoever wants a scene to begin in another state than upstream's."""

    def _judge(self, command: np.ndarray) -> tuple[float, bool]:
        """Upstream's reward and success of the state that ``command`` (4,) led to."""
        reward, info = self._raw.evaluate_state(self._observed, command)
        return float(reward), bool(info["success"])

    def _read_frame(self) -> np.ndarray:
        """Upstream's 18 numbers: hand, gripper opening, and (xyz, quaternion) per object."""
        raw, xpos = self._raw, self._raw.data.xpos
        frame = np.zeros(_FRAME)
        frame[0:3] = xpos[self._hand]
        frame[3] = min(math.dist(xpos[self._right], xpos[self._left]) / 0.1, 1.0)
        positions, quaternions = raw._get_pos_objects(), raw._get_quat_objects()
        for index in range(len(positions) // 3):
            at = 4 + 7 * index
            frame[at : at + 3] = positions[3 * index : 3 * index + 3]
            frame[at + 3 : at + 7] = quaternions[4 * index : 4 * index + 4]
        return frame

    def _observe(self, last: np.ndarray) -> None:
        """Write this frame, ``last`` and the goal; a new array, for tasks keep references."""
        self._observed = np.concatenate((self._frame, last, self._raw._get_pos_goal()))

    def _observation(self) -> Observation:
        observed = self._observed.astype(np.float32)
        if self._cameras is not None:
            return {"state": observed[_STATE], **self._cameras.draw(self._raw.data)}
        return {"state": observed[_STATE], "environment_state": observed[_ENVIRONMENT_STATE]}


def _points(objects: int, always: bool) -> dict[str, dict[str, tuple[tuple[int, ...], ...]]]:
    """The spec's ``points``, ``objects`` and ``goals``: where x, y and z are in the vectors.

    Args:
        objects: how many the task has.
        always: the goal matters all the time; then it is not named.
    """
    upstream = [frame + at for frame in (0, _FRAME) for at in (0, *range(4, 4 + 7 * objects, 7))]
    places = [*upstream, 2 * _FRAME]
    points: dict[str, tuple[tuple[int, ...], ...]] = {
        key: tuple((index, index + 1, index + 2) for index, at in enumerate(source) if at in places)
        for key, source in (("state", _STATE), ("environment_state", _ENVIRONMENT_STATE))
    }
    *things, goal = points["environment_state"]
    return {
        "points": points,
        "objects": {"environment_state": tuple(things)},
        "goals": {} if always else {"environment_state": (goal,)},
    }
