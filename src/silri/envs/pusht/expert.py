"""A scripted expert for Push-T: two pushes ahead, over a table of what pushes do.

Nothing in that world has friction, and what moves stops at once. So a push at one place of the T,
along the edge's normal n, is known in closed form: with r from the centre of mass to that place,
one pixel of it turns the T by (r x n) / (I + (r x n)^2), and moves it by n I / (I + (r x n)^2).
Going on at the same place is a screw about a fixed centre. What any two pushes do together is the
same wherever the T lies: one table, made once, that is compared with where the T has to go.

Lengths are pixels here, angles radians, and poses (x, y, angle) of the centre of mass.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np

RADIUS = 15.0  # of the pusher
CENTRE = np.array([0.0, 45.0])  # of mass, in the T's own frame
_INERTIA = 3000.0  # per mass
_BARS = np.array([[-60.0, 0.0, 60.0, 30.0], [-15.0, 30.0, 15.0, 120.0]])  # x0, y0, x1, y1
_EDGES = (  # from, to, and the normal that points into the T
    ((-60, 0), (60, 0), (0, 1)),
    ((60, 0), (60, 30), (-1, 0)),
    ((60, 30), (15, 30), (0, -1)),
    ((15, 30), (15, 120), (-1, 0)),
    ((15, 120), (-15, 120), (0, -1)),
    ((-15, 120), (-15, 30), (1, 0)),
    ((-15, 30), (-60, 30), (0, -1)),
    ((-60, 30), (-60, 0), (1, 0)),
)
_APART, _MARGIN = 8.0, 3.0  # between two places to push at; from a corner
_LENGTHS = np.array([0.0, 1.0, 2.5, 4.5, 7.0, 11.0, 17.0, 26.0, 40.0, 60.0, 90.0, 130.0])
_ANGLE = 50.0  # pixels that a radian of error counts
_GAP, _CLEAR = 7.0, 4.0  # beside the T: where a push begins; what a way keeps free
_INSIDE = (1.0, 511.0)  # where the pusher may go
_REACHED, _BESIDE = 9.0, 5.0  # of a corner of the way; off the line of a push
_LEAD = 24.0  # how far ahead of itself the pusher is told to be in a push
_DONE, _OFF = 0.5, 6.0  # left of a push that is over; off a push that somebody has spoilt
# Of the plan, in decisions: per pixel on the way, behind the T, per pixel pushed, per push, and per
# pixel that is still wrong after both.
_WALK, _BEHIND, _PUSH, _BEGIN, _WRONG = 0.05, 4.0, 0.08, 4.0, 0.6
_ANOTHER, _ENOUGH = 50.0, 2.5  # if it takes a third push; pixels from which it does


class _Table(NamedTuple):
    """C places to push at, and what K = C L pushes do, alone and in pairs."""

    place: np.ndarray  # (C, 2)
    normal: np.ndarray  # (C, 2), into the T
    twist: np.ndarray  # (C, 3) per pixel
    pairs: np.ndarray  # (K, K, 3): motion of the T in its own frame
    cost: np.ndarray  # (K, K) decisions


def move(pose: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """(..., 3): ``pose`` after a ``motion`` (..., 3) in its own frame."""
    c, s = np.cos(pose[..., 2]), np.sin(pose[..., 2])
    x = pose[..., 0] + c * motion[..., 0] - s * motion[..., 1]
    y = pose[..., 1] + s * motion[..., 0] + c * motion[..., 1]
    return np.stack([x, y, pose[..., 2] + motion[..., 2]], -1)


def between(pose: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """(3,): the motion in its own frame that brings ``pose`` to ``goal``."""
    c, s = math.cos(pose[2]), math.sin(pose[2])
    x, y = goal[:2] - pose[:2]
    return np.array([c * x + s * y, c * y - s * x, _wrapped(goal[2] - pose[2])])


def screw(twist: np.ndarray, length: np.ndarray) -> np.ndarray:
    """(..., 3): motion of a push of ``length`` (...) with ``twist`` (..., 3) per pixel."""
    angle = twist[..., 2] * length
    small = np.abs(angle) < 1e-9
    safe = np.where(small, 1.0, angle)
    a, b = np.where(small, 1.0, np.sin(safe) / safe), np.where(small, 0, (1 - np.cos(safe)) / safe)
    x, y = twist[..., 0] * length, twist[..., 1] * length
    return np.stack([a * x - b * y, b * x + a * y, angle], -1)


@cache
def _table() -> _Table:
    places, normals = [], []
    for start, end, facing in _EDGES:
        first, inward = np.array(start, float), np.array(facing, float)
        way = np.array(end, float) - first
        size = float(np.linalg.norm(way))
        for at in np.linspace(_MARGIN, size - _MARGIN, max(2, round(size / _APART))):
            touched = first + at / size * way
            if _clearance(touched - RADIUS * inward) > RADIUS - 0.1:
                places.append(touched)
                normals.append(inward)
    place, normal = np.array(places), np.array(normals)
    arm = place - CENTRE
    moment = arm[:, 0] * normal[:, 1] - arm[:, 1] * normal[:, 0]
    share = (_INERTIA / (_INERTIA + moment**2))[:, None]
    twist = share * np.concatenate([normal, (moment / _INERTIA)[:, None]], 1)
    alone = screw(twist[:, None], _LENGTHS[None]).reshape(-1, 3)
    pairs = move(alone[:, None], alone[None]).astype(np.float32)
    walk = np.linalg.norm(place[:, None] - place[None], axis=-1) * _WALK
    walk += _BEHIND * ((normal @ normal.T) < -0.5)
    size = len(_LENGTHS)
    walk = np.repeat(np.repeat(walk, size, 0), size, 1)
    length = np.tile(_LENGTHS, len(place))
    pushing = _PUSH * length + _BEGIN * (length > 0)
    cost = pushing[:, None] + pushing[None] + walk * (length > 0)[None]
    return _Table(place, normal, twist, pairs, cost.astype(np.float32))


def _clearance(point: np.ndarray) -> np.ndarray:
    """(...) from ``point`` (..., 2) to the T, in its own frame with the corner as origin."""
    outside = np.maximum(_BARS[:, :2] - point[..., None, :], point[..., None, :] - _BARS[:, 2:])
    return np.linalg.norm(np.maximum(outside, 0.0), axis=-1).min(-1)


def _wrapped(angle: float) -> float:
    return (angle + math.pi) % (2 * math.pi) - math.pi


class Pusher:
    """Decides where the pusher is to go; what it has decided stands until the T is there."""

    def __init__(self, goal: np.ndarray) -> None:
        """``goal`` (3,) is a pose of the T's corner frame, as the package gives it."""
        self._goal = self.pose(goal)
        self._decided: tuple[int, np.ndarray] | None = None  # where to push, until which pose

    def reset(self) -> None:
        """Forget the last episode."""
        self._decided = None

    @staticmethod
    def pose(body: np.ndarray) -> np.ndarray:
        """(3,) of the centre of mass for ``body`` (3,): position and angle of its frame."""
        return np.array([*(body[:2] + _turned(body[2]) @ CENTRE), body[2]])

    def target(self, body: np.ndarray, pusher: np.ndarray) -> np.ndarray:
        """(2,) where the pusher is to be told to go.

        Args:
            body: (3,) position and angle of the T.
            pusher: (2,) where it is.
        """
        table, turn, pose = _table(), _turned(body[2]), self.pose(body)
        own = turn.T @ (pusher - body[:2])  # the pusher in the T's frame
        index, length = self._decide(body, own)
        place, normal = table.place[index], table.normal[index]
        off = own - place
        gap, aside = -float(off @ normal) - RADIUS, abs(off[0] * normal[1] - off[1] * normal[0])
        if -4.0 < gap < 2 * _GAP and aside < _BESIDE:
            ahead = move(pose, screw(table.twist[index], np.array(min(length, _LEAD))))
            turned = _turned(ahead[2])
            return ahead[:2] + turned @ (place - RADIUS * normal - CENTRE)
        start = place - (RADIUS + _GAP) * normal
        return body[:2] + turn @ self._way(own, start)

    def _decide(self, body: np.ndarray, own: np.ndarray) -> tuple[int, float]:
        """Where to push, and how far yet."""
        pose, done = self.pose(body), None
        if self._decided is not None:
            index, until = self._decided
            length, off = self._left(pose, until, index)
            if length > _DONE and off < _OFF:
                return index, length
            done = index if off < _OFF else None
        index, length = self._plan(body, own, done)
        self._decided = index, move(pose, screw(_table().twist[index], np.array(length)))
        return index, length

    @staticmethod
    def _left(pose: np.ndarray, until: np.ndarray, index: int) -> tuple[float, float]:
        """How far to push from ``pose`` towards ``until``, and how far off that comes."""
        twist = _table().twist[index]
        weight = np.array([1.0, 1.0, _ANGLE])
        along, motion = twist * weight, between(pose, until) * weight
        length = float(along @ motion / (along @ along))
        after = between(move(pose, screw(twist, np.array(max(0.0, length)))), until)
        return length, float(np.linalg.norm(after * weight))

    def _plan(self, body: np.ndarray, own: np.ndarray, done: int | None) -> tuple[int, float]:
        """Where to push, and how far: the first of the two pushes that cost least."""
        table = _table()
        wrong = table.pairs - between(self.pose(body), self._goal).astype(np.float32)
        wrong[..., 2] = (wrong[..., 2] + np.pi) % (2 * np.pi) - np.pi
        wrong[..., 2] *= _ANGLE
        off = np.sqrt(np.einsum("ijk,ijk->ij", wrong, wrong))
        cost = table.cost + _WRONG * off + _ANOTHER * (off / (off + _ENOUGH))
        begin = table.place - (RADIUS + _GAP) * table.normal
        there = body[:2] + begin @ _turned(body[2]).T
        walk = _WALK * np.linalg.norm(begin - own, axis=1)
        walk += _BEHIND * (((own - table.place) * table.normal).sum(1) > -RADIUS / 2)
        walk[((there < _INSIDE[0]) | (there > _INSIDE[1])).any(1)] += 500.0
        if done is not None:
            walk[done] += 500.0
        cost += np.repeat(walk, len(_LENGTHS)).astype(np.float32)[:, None]
        cost[:: len(_LENGTHS)] += 5000.0  # the first push is one
        index, size = divmod(int(cost.min(1).argmin()), len(_LENGTHS))
        return index, float(_LENGTHS[size])

    @staticmethod
    def _way(own: np.ndarray, goal: np.ndarray) -> np.ndarray:
        """(2,): the next corner of the shortest way around the T, in its frame."""
        keep = RADIUS + _CLEAR
        out = keep + 2.0
        corners = np.array(
            [[-60 - out, -out], [60 + out, -out], [60 + out, 30 + out], [15 + out, 30 + out],
             [15 + out, 120 + out], [-15 - out, 120 + out], [-15 - out, 30 + out],
             [-60 - out, 30 + out]]
        )  # fmt: skip
        points = np.concatenate([[own], corners, [goal]])
        steps = np.linspace(0.0, 1.0, 25)[:, None, None, None]
        segments = points[None, :, None] * (1 - steps) + points[None, None] * steps
        free = _clearance(segments)
        # Whoever stands too near is let out.
        least = np.minimum(np.minimum(free[0], free[-1]), keep) - 2.0
        length = np.linalg.norm(points[:, None] - points[None], axis=-1)
        length = np.where((free >= least).all(0), length, length * 20 + 1000)
        far, before = length[-1].copy(), np.full(len(points), len(points) - 1)
        for _ in range(len(points)):
            through = length + far[None]
            better = through.min(1) < far - 1e-9
            before[better], far[better] = through.argmin(1)[better], through.min(1)[better]
        following = points[before[0]]
        if np.linalg.norm(following - own) < _REACHED and before[0] != len(points) - 1:
            following = points[before[before[0]]]
        return following


def _turned(angle: float) -> np.ndarray:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s], [s, c]])
