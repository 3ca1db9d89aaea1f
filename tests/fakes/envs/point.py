"""Points in a cube that must reach their goals: an environment of microseconds.

It implements :class:`silri.core.protocols.Env` without Gymnasium. Everything is decided by the
reset's seed and the actions, episodes differ in length, and some time out.
"""

from __future__ import annotations

import numpy as np

from silri.core.errors import EnvironmentFault, UnknownNameError
from silri.core.protocols import Privileged
from silri.core.seeding import Stream, derive_seed
from silri.core.settings import settings
from silri.core.specs import ActionSpec, ArraySpec, EnvSpec
from silri.envs.config import EnvConfig

STEP = 0.5  # how far a full action moves
REACHED = 0.45  # a point nearer than this to its goal is there
LIMIT = 8  # decisions

# Name -> arms, and whether each has a gripper that must be closed at the goal.
LAYOUTS = {"one-arm": (1, True), "two-arms": (2, True), "no-gripper": (1, False)}


class PointMass:
    """One point or two, with or without grippers.

    The spec of one arm is that of the ``spec`` fixture, so that agents compile once for both.
    """

    def __init__(self, name: str = "one-arm", config: FakeEnvConfig | None = None) -> None:
        config = FakeEnvConfig(kind=f"fake/{name}") if config is None else config
        self.arms, self.has_gripper = LAYOUTS[name]
        self.config = config
        per_arm = 4 if self.has_gripper else 3
        gripper = tuple(range(3, per_arm * self.arms, 4)) if self.has_gripper else ()
        self.env_spec = EnvSpec(
            name=config.kind,
            observation={
                "state": ArraySpec((4 * self.arms,)),
                "environment_state": ArraySpec((3 * self.arms,)),
            },
            action=ActionSpec(per_arm * self.arms, gripper=gripper),
            max_episode_steps=config.max_episode_steps or LIMIT,
        )
        self.resets: list[int | None] = []  # seeds, for tests to look at
        self.steps = 0
        self.closed = False

    def reset(self, *, seed=None, options=None):
        self.resets.append(seed)
        rng = np.random.default_rng(seed)
        self._place, self._goal = rng.uniform(-1, 1, (2, self.arms, 3))
        self._gripper = np.full(self.arms, -1.0)
        self._taken = 0
        return self._observation(), {"success": False}

    def step(self, action):
        assert action.shape == (self.env_spec.action.size,)
        assert action.dtype == np.float32
        assert np.abs(action).max() <= 1.0
        self.steps += 1
        self._taken += 1
        parts = action.astype(np.float64).reshape(self.arms, -1)
        self._place = np.clip(self._place + STEP * parts[:, :3], -1.5, 1.5)
        penalty = 0.0
        if self.has_gripper:
            penalty = self.config.grasp_penalty * float((parts[:, 3] != self._gripper).any())
            self._gripper = parts[:, 3].copy()
        success = bool((self._distance() < REACHED).all())
        if self.has_gripper:
            success = success and bool((self._gripper > 0).all())
        reward = self.config.success_reward if success else self.config.step_reward
        terminated = success and self.config.end_on_success
        truncated = not terminated and self._taken >= self.env_spec.max_episode_steps
        info = {"success": success, "grasp_penalty": penalty}
        return self._observation(), reward, terminated, truncated, info

    def close(self):
        self.closed = True

    def privileged(self):
        """The scripted expert: straight to the goal, gripper closed in its last step."""
        move = (self._goal - self._place) / STEP
        parts = move
        if self.has_gripper:
            near = np.where(np.abs(move).max(axis=1) <= 1.0, 1.0, -1.0)
            parts = np.concatenate([move, near[:, None]], axis=1)
        return Privileged(
            expert_action=parts.reshape(-1),
            hand=self._place[0].copy(),
            object=self._goal[0].copy(),
            goal=self._goal[0].copy(),
        )

    def _distance(self):
        return np.abs(self._goal - self._place).max(axis=1)

    def _observation(self):
        state = np.concatenate([self._place, self._gripper[:, None]], axis=1)
        return {
            "state": state.reshape(-1).astype(np.float32),
            "environment_state": self._goal.reshape(-1).astype(np.float32),
        }


class FaultyPointMass(PointMass):
    """A point mass that breaks in a step of chosen training episodes of the run with seed 0."""

    def __init__(self, name, config, fault, step, episodes):
        super().__init__(name, config)
        self._fault, self._at = fault, step
        self._seeds = {derive_seed(0, Stream.TRAIN_LAYOUT, index) for index in episodes}
        self._broken = False

    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed, options=options)
        self._broken = seed in self._seeds
        if self._broken and self._fault == "reset-raises":
            raise EnvironmentFault("the simulator does not wake up")
        if self._broken and self._fault == "nan-reset":
            observation["state"][0] = np.nan
        return observation, info

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        if self._broken and self._taken == self._at + 1:
            if self._fault == "nan-observation":
                observation["state"][0] = np.nan
                terminated = truncated = False
            elif self._fault == "infinite-reward":
                reward = np.inf
            elif self._fault == "wrong-shape":
                observation["state"] = observation["state"][:-1]
            elif self._fault == "raises":
                raise EnvironmentFault("the simulator lost its mind")
        if self._broken and self._fault == "endless":
            terminated = truncated = False
        return observation, reward, terminated, truncated, info


@settings("env")
class FakeEnvConfig(EnvConfig):
    """``fake/LAYOUT`` or ``fake/LAYOUT!FAULT:STEP@EPISODES``.

    E.g. ``!raises:2@3,5`` or ``!raises:2@4+``.
    """

    kind: str = "fake/one-arm"  # which, and how it breaks

    def create(self):
        family, _, rest = self.kind.partition("/")
        layout, _, fault = rest.partition("!")
        if family != "fake" or layout not in LAYOUTS:
            raise UnknownNameError(f"no fake environment '{self.kind}'")
        if not fault:
            return PointMass(layout, self)
        fault, _, where = fault.partition("@")
        kind, _, step = fault.partition(":")
        first, plus, _ = where.partition("+")
        episodes = range(int(first), 1000) if plus else [int(i) for i in where.split(",")]
        return FaultyPointMass(layout, self, kind, int(step or 0), episodes)


class Fake:
    """The point mass as somebody outside silri would offer it; chosen by :data:`NAME`."""

    Config = FakeEnvConfig

    @staticmethod
    def create(config, name):
        return config.create()


NAME = "tests.fakes.envs.point:Fake"
