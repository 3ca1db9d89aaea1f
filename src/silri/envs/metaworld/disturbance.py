"""Someone moves the object in the middle of an episode: the paper's disturbances, in Meta-World.

Three kinds, told apart by what the hand is doing when the object is moved:

=========  ====================================================================================
approach   the hand is on its way to the object and still clear of it
grasp      the hand is at the object and about to take it
push       the object has left its place and the hand is at it: it is pushed, pulled or carried
=========  ====================================================================================

The object jumps sideways, by a distance and in a direction that the caller's generator decides.
Nothing else in the scene moves, with one exception: what a *fixture* (a drawer, a door) is to
become is said relative to it, so its goal moves with it and the task stays what it was. An object
in the fingers is left hanging beside them, and falls.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

KINDS = ("approach", "grasp", "push")
_CLEAR = 0.06  # metres: a hand farther than this from the object is still on its way
_COVERED = 0.3  # share of the way across that an approaching hand has behind it
_OVERHEAD = 0.03  # metres: a hand that starts nearer than this, seen from above, has arrived
_ABOVE = 0.04  # metres, seen from above, between the object and a hand about to take it
_GRASP = 0.07  # metres between the object and a hand about to take it
_MOVED = 0.03  # metres from its place, from which an object is said to be on its way
_MARGIN = 0.02  # metres to the edge of the hand's box: where a hand still gets around an object
_UNFINISHED = 0.10  # metres to the goal that are left: the nearest success is counted at 0.08
_BRUSH = 0.002  # metres that a hand may dent an object deeper than it does already
# Metres to all sides that nothing is in: a hand goes on moving for a decision, with what it hits.
_ROOM = np.array([(0.0, 0, 0), (0.01, 0, 0), (-0.01, 0, 0), (0, 0.01, 0), (0, -0.01, 0)])
_ON_THE_WAY = (0.2, 0.4, 0.6, 0.8)
_DRAWS = 64


@dataclass(frozen=True, slots=True)
class Displacement:
    """How far an object is moved, in a horizontal direction that is uniform.

    Attributes:
        nearest: metres.
        farthest: metres; uniform between the two.
    """

    nearest: float
    farthest: float


DISPLACEMENTS = {
    "approach": Displacement(0.03, 0.05),
    "grasp": Displacement(0.03, 0.05),
    "push": Displacement(0.04, 0.06),  # nearer, a puck is not out of the fingers yet
}


@dataclass(frozen=True, slots=True)
class Target:
    """What is moved in a task.

    Attributes:
        body: the name of the body that is moved; without a free joint it is a fixture.
        kinds: those that make sense in this task.
        grip: metres from the observed position up to where fingers take it.
        reach: metres between hand and object while one moves the other.
        drift: metres that it may move by itself.
    """

    body: str
    kinds: tuple[str, ...] = KINDS
    grip: float = 0.0
    reach: float = 0.06
    drift: float = 0.01


# What lies across the fingers, or has the hand in its handle, cannot be moved by a displacement
# without going through them.
_NOT_HELD = ("approach", "grasp")
TARGETS = {
    "assembly-v3": Target("RoundNut", _NOT_HELD),
    "box-close-v3": Target("boxbodytop", _NOT_HELD, grip=0.05),
    # Its handle is behind what the hand pushes, and it swings a little when it is let go.
    "door-close-v3": Target("door", ("approach", "push"), reach=0.20, drift=0.13),
    "drawer-open-v3": Target("drawer", _NOT_HELD),
    "peg-insert-side-v3": Target("peg", _NOT_HELD),
    "pick-place-v3": Target("obj"),
    "push-v3": Target("obj"),
}


class Disturber:
    """Moves the object of one simulated task; knows where the episode began."""

    def __init__(
        self,
        raw: Any,
        target: Target,
        displacements: Mapping[str, Displacement] = DISPLACEMENTS,
    ) -> None:
        """Look up what is moved.

        Args:
            raw: Meta-World's environment.
            target: what to move in it.
            displacements: how far, for each kind.
        """
        model = raw.model
        self._raw, self._target, self._displacements = raw, target, displacements
        self._body = model.body(target.body).id
        support = (0, model.body("tablelink").id)
        roots = model.body_rootid[model.geom_bodyid]  # of every geom
        self._own = roots == self._body
        self._obstacle = ~self._own & ~np.isin(roots, support)
        self._fixture = model.body_jntnum[self._body] == 0
        if not self._fixture:
            joint = model.body_jntadr[self._body]
            self._qpos, self._dof = model.jnt_qposadr[joint], model.jnt_dofadr[joint]
        self._trial = mujoco.MjData(model)

    def begin(self) -> None:
        """An episode has begun: remember where the object is, and how far the hand is from it."""
        self._start = self._object()
        self._way = math.dist(self._raw.tcp_center[:2], self._start[:2])

    def disturb(self, kind: str, rng: np.random.Generator) -> bool:
        """Move the object now, if it is the moment for ``kind`` and there is a free place.

        False leaves the simulation as it was, to the last bit.
        """
        if not self._applies(kind):
            return False
        how_far = self._displacements[kind]
        for _ in range(_DRAWS):
            angle = rng.uniform(-math.pi, math.pi)
            distance = rng.uniform(how_far.nearest, how_far.farthest)
            shift = distance * np.array([math.cos(angle), math.sin(angle), 0.0])
            if self._within(shift) and self._free(shift):
                self._move(shift)
                return True
        return False

    def _object(self) -> np.ndarray:
        """(3,) metres: the task's main object, as observed."""
        return np.array(self._raw._get_pos_objects()[:3])

    def _applies(self, kind: str) -> bool:
        """Whether the state is one that ``kind`` is about."""
        target, position, hand = self._target, self._object(), self._raw.tcp_center
        aside = math.dist(hand[:2], position[:2])
        away = math.hypot(aside, hand[2] - position[2] - target.grip)
        # Only up: a lid falls onto the table at the beginning, and that is nobody's doing.
        lifted = max(position[2] - self._start[2], 0.0)
        moved = math.hypot(*(position - self._start)[:2], lifted)
        if kind == "push":
            return moved > target.drift + _MOVED and away < target.reach
        if moved > target.drift or self._nearest_contact(self._raw.data) < math.inf:
            return False
        if kind == "grasp":
            return aside < _ABOVE and away < _GRASP
        return away > _CLEAR and aside < max((1.0 - _COVERED) * self._way, _OVERHEAD)

    def _nearest_contact(self, data: mujoco.MjData) -> float:
        """Metres, negative in a collision, to what touches the object; infinity if nothing does.

        What it rests on does not count.
        """
        own, other = self._own, self._obstacle
        first, second = data.contact.geom[: data.ncon].T
        touching = (own[first] & other[second]) | (own[second] & other[first])
        return float(np.min(data.contact.dist[: data.ncon], where=touching, initial=math.inf))

    def _within(self, shift: np.ndarray) -> bool:
        """Whether the hand gets to where the object would be, and the task would not be done."""
        raw = self._raw
        object_, goal = self._object() + shift, raw._get_pos_goal()
        reached = [object_]
        if self._fixture:
            reached.append(goal + shift)
        elif math.dist(object_, goal) < _UNFINISHED:
            return False
        low, high = raw.mocap_low[:2] + _MARGIN, raw.mocap_high[:2] - _MARGIN
        return all(((low <= place[:2]) & (place[:2] <= high)).all() for place in reached)

    def _free(self, shift: np.ndarray) -> bool:
        """Whether the object can be moved there without going through the robot or a thing.

        On the way the hand may brush it; where it stops, it has room.
        """
        deepest = min(self._nearest_contact(self._raw.data), 0.0) - _BRUSH
        return all(self._contact(shift + room) == math.inf for room in _ROOM) and all(
            self._contact(shift * share) > deepest for share in _ON_THE_WAY
        )

    def _contact(self, shift: np.ndarray) -> float:
        """How near (negative: how deep) the object, moved, is to what it touches; else infinity."""
        model, data, trial = self._raw.model, self._raw.data, self._trial
        trial.qpos[:] = data.qpos
        place = model.body_pos[self._body].copy()
        if self._fixture:
            model.body_pos[self._body] += shift
        else:
            trial.qpos[self._qpos : self._qpos + 3] += shift
        mujoco.mj_fwdPosition(model, trial)
        model.body_pos[self._body] = place
        return self._nearest_contact(trial)

    def _move(self, shift: np.ndarray) -> None:
        """Move the object, at rest, and what is defined relative to it."""
        raw = self._raw
        model, data = raw.model, raw.data
        if self._fixture:
            model.body_pos[self._body] += shift
            raw.obj_init_pos = raw.obj_init_pos + shift
            raw._target_pos = raw._target_pos + shift
            model.site("goal").pos = raw._target_pos
        else:
            data.qpos[self._qpos : self._qpos + 3] += shift
            data.qvel[self._dof : self._dof + 6] = 0.0
        mujoco.mj_forward(model, data)
