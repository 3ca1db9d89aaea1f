"""Meta-World's scenes with a task that is said in words: ``metaworld-language``.

An episode draws a task and a sentence that asks for it. Where two tasks share a scene nothing else
tells them apart: drawer and window begin half-way, the places to reach are not in the observation,
and layout, hand and scene are drawn as they are for the other task.

=======  =================================  ==============================================
scene    tasks                              what success is
=======  =================================  ==============================================
drawer   drawer-open, drawer-close          the drawer is out, or in, to its last 2 cm
window   window-open, window-close          the pane is at its open, or closed, end (3 cm)
button   button-press                       as Meta-World says
reach    reach-left, reach-right            the hand is at a place left, or right, of the puck
=======  =================================  ==============================================

The places to reach are fixed to the puck, not to the table: so the task stays what it is if all of
a scene is moved sideways, as ``augment.shift`` moves it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy as np

from silri.core.errors import EnvironmentFault
from silri.core.protocols import Privileged
from silri.core.seeding import Stream, rng
from silri.core.specs import INSTRUCTION, ArraySpec, EnvSpec, Observation
from silri.envs.config import MetaworldConfig, MetaworldLanguageConfig
from silri.envs.metaworld.env import GRIPPER, MetaworldEnv
from silri.envs.metaworld.phrasings import TEST, TRAIN
from silri.envs.metaworld.tasks import quiet_expert
from silri.envs.metaworld.view import View

LONGEST = 128  # characters of an instruction
REACHED_M = 0.05  # Meta-World's own
_TEXT = ArraySpec((), f"<U{LONGEST}")
_GOAL = 3  # numbers of the goal, at the end of environment_state: nobody is to see them
_OBJECT = slice(4, 7)  # of the object in what an expert sees
_SEEN_GOAL = slice(36, 39)


@dataclass(frozen=True)
class Task:
    """What is to be done in a scene.

    Attributes:
        expert: Meta-World's task whose scripted expert does it.
        least, most: metres of the scene's joint at which it is done.
        place: (3,) metres from the puck to where the hand is to be.
        grasped_at: (3,) metres from the object in the observation to the one that the expert
            expects: two of Meta-World's tasks on one thing name different points of it.
    """

    expert: str
    least: float = -np.inf
    most: float = np.inf
    place: tuple[float, float, float] | None = None
    grasped_at: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Plan:
    """A scene and its tasks.

    Attributes:
        base: Meta-World's task whose scene it is.
        tasks: by name.
        joint: what slides; empty: nothing does.
        start: metres of the joint at the beginning of an episode, whatever the task.
    """

    base: str
    tasks: Mapping[str, Task]
    joint: str = ""
    start: float = 0.0


PLANS: Mapping[str, Plan] = {
    "drawer": Plan(
        "drawer-open-v3",
        {
            "drawer-open": Task("drawer-open-v3", most=-0.14),
            "drawer-close": Task("drawer-close-v3", least=-0.02, grasped_at=(0.0, 0.0, 0.05)),
        },
        joint="goal_slidey",
        start=-0.08,
    ),
    "window": Plan(
        "window-open-v3",
        {
            "window-open": Task("window-open-v3", least=0.17),
            "window-close": Task("window-close-v3", most=0.03, grasped_at=(0.05, 0.0, 0.0)),
        },
        joint="window_slide",
        start=0.1,
    ),
    "button": Plan("button-press-v3", {"button-press": Task("button-press-v3")}),
    "reach": Plan(
        "reach-v3",
        {
            "reach-left": Task("reach-v3", place=(-0.15, 0.1, 0.15)),
            "reach-right": Task("reach-v3", place=(0.15, 0.1, 0.15)),
        },
    ),
}
SCENE_OF = {task: scene for scene, plan in PLANS.items() for task in plan.tasks}


def words_for(task: str, phrasings: str) -> tuple[tuple[str, ...], ...]:
    """The sentences that may ask for ``task``, a tuple for each task whose words they are.

    ``shuffled`` gives those of the other tasks of its scene; a task that has its scene for itself
    keeps its own.
    """
    if phrasings != "shuffled":
        return ((TRAIN if phrasings == "train" else TEST)[task],)
    others = [other for other in PLANS[SCENE_OF[task]].tasks if other != task]
    return tuple(TRAIN[other] for other in others or [task])


class Scene(MetaworldEnv):
    """A scene in which :attr:`task` decides what success is and what the expert does.

    Attributes:
        task: a name of ``plan.tasks``.
    """

    def __init__(self, plan: Plan, config: MetaworldLanguageConfig, name: str) -> None:
        """Build the simulator, once for all tasks of the scene."""
        self.plan, self.task = plan, next(iter(plan.tasks))
        common = {
            key: getattr(config, key)
            for key in MetaworldLanguageConfig.__dataclass_fields__
            if key in MetaworldConfig.__dataclass_fields__
        }
        super().__init__(plan.base, MetaworldConfig(**common))
        self.env_spec = replace(self.env_spec, name=name)
        self._experts = {key: quiet_expert(task.expert) for key, task in plan.tasks.items()}

    def privileged(self) -> Privileged:
        """The truth about the current state, with the expert's action for :attr:`task`."""
        task, seen = self.plan.tasks[self.task], self._observed.copy()
        seen[_OBJECT] += task.grasped_at
        seen[_SEEN_GOAL] = self._goal()
        action = np.asarray(self._experts[self.task].get_action(seen), np.float32)
        if self._discrete:
            action[GRIPPER] = 1.0 if action[GRIPPER] > 0 else -1.0
        return Privileged(
            expert_action=action,
            hand=seen[0:3].copy(),
            object=self._observed[_OBJECT].copy(),
            goal=self._goal(),
        )

    def _arrange(self) -> None:
        if self.plan.joint:
            self._raw.data.joint(self.plan.joint).qpos[:] = self.plan.start

    def _judge(self, command: np.ndarray) -> tuple[float, bool]:
        task = self.plan.tasks[self.task]
        if task.place is not None:
            away = np.linalg.norm(self._observed[0:3] - self._goal())
            return 0.0, bool(away <= REACHED_M)
        if self.plan.joint:
            at = float(self._raw.data.joint(self.plan.joint).qpos[0])
            return 0.0, task.least <= at <= task.most
        return super()._judge(command)

    def _goal(self) -> np.ndarray:
        """(3,) metres: where the hand is to be; Meta-World's own where it is no matter."""
        place = self.plan.tasks[self.task].place
        if place is None:
            goal: np.ndarray = self._observed[_SEEN_GOAL].copy()
            return goal
        return self._puck + np.asarray(place)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """See :meth:`MetaworldEnv.reset`."""
        result = super().reset(seed=seed, options=options)
        self._puck = self._observed[_OBJECT].copy()  # where it lies when the words are said
        return result


class MetaworldLanguageEnv(gymnasium.Env[Any, np.ndarray]):
    """Seven tasks in four scenes as one :class:`silri.core.protocols.Env`; actions (4,) in [-1, 1].

    Observation: ``state`` (8,) and ``environment_state`` (28,) as
    :class:`~silri.envs.metaworld.env.MetaworldEnv` has them but without the goal, and
    ``instruction``, a text. Each scene's simulator is built once and kept.
    """

    def __init__(self, config: MetaworldLanguageConfig, name: str = "metaworld-language") -> None:
        """Build the simulators of the scenes that ``config.tasks`` need."""
        self._config = config
        needed = dict.fromkeys(SCENE_OF[task] for task in config.tasks)
        self._scenes = {scene: Scene(PLANS[scene], config, name) for scene in needed}
        self._scene = next(iter(self._scenes.values()))
        own = self._scene.env_spec
        size = own.observation["environment_state"].shape[0] - _GOAL
        seen = {key: [p for p in at if max(p) < size] for key, at in own.points.items()}
        seen["state"] = list(own.points["state"])
        self.env_spec = EnvSpec(
            name=name,
            observation={
                "state": own.observation["state"],
                "environment_state": ArraySpec((size,)),
                INSTRUCTION: _TEXT,
            },
            action=own.action,
            max_episode_steps=own.max_episode_steps,
            control_hz=own.control_hz,
            points={key: tuple(places) for key, places in seen.items()},
            objects=own.objects,
        )
        self.directions = self._scene.directions
        self.observation_space = gymnasium.spaces.Dict(
            {
                key: gymnasium.spaces.Text(LONGEST, charset=_letters())
                if array.is_text
                else gymnasium.spaces.Box(-np.inf, np.inf, array.shape, np.float32)
                for key, array in self.env_spec.observation.items()
            }
        )
        self.action_space = self._scene.action_space
        self._words = np.array("", _TEXT.dtype)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode whose task, words and layout ``seed`` decides (None: the next one).

        Returns:
            The observation, and ``info`` with ``task``, its name, and ``layout``.
        """
        super().reset(seed=seed)
        seed = int(self.np_random.integers(2**31)) if seed is None else seed
        draws = rng(seed, Stream.INSTRUCTION)
        task = self._config.tasks[draws.integers(len(self._config.tasks))]
        groups = words_for(task, self._config.phrasings)
        words = groups[draws.integers(len(groups))]
        self._words = np.array(words[draws.integers(len(words))], _TEXT.dtype)
        self._scene = self._scenes[SCENE_OF[task]]
        self._scene.task = task
        observation, info = self._scene.reset(seed=seed, options=options)
        return self._seen(observation), {**info, "task": task}

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One decision in the scene of the episode; see :meth:`MetaworldEnv.step`.

        Raises:
            EnvironmentFault: no episode has begun, or the simulation diverged.
        """
        if not str(self._words):
            raise EnvironmentFault(f"{self.env_spec.name}: step() without reset()")
        observation, reward, terminated, truncated, info = self._scene.step(action)
        return self._seen(observation), reward, terminated, truncated, info

    def privileged(self) -> Privileged:
        """The truth about the current state; the expert knows what was asked for."""
        return self._scene.privileged()

    def render(self) -> np.ndarray:
        """(256, 256, 3) uint8; see :meth:`MetaworldEnv.render`."""
        return self._scene.render()

    @property
    def view(self) -> list[list[float]]:
        """Where +1 of each action moves the hand in a picture: (right, up) each."""
        return View.directions()

    def close(self) -> None:
        """Release the simulators."""
        for scene in self._scenes.values():
            scene.close()

    def _seen(self, observation: Observation) -> Observation:
        """Without the goal, and with the words."""
        return {
            "state": observation["state"],
            "environment_state": observation["environment_state"][:-_GOAL],
            INSTRUCTION: self._words.copy(),
        }


def _letters() -> frozenset[str]:
    """Every letter of every sentence."""
    words = (*TRAIN.values(), *TEST.values())
    return frozenset("".join(sentence for sentences in words for sentence in sentences))
