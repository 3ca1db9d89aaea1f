"""What the expert of Push-T knows of pushes, in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from silri.envs.pusht import expert
from silri.envs.pusht.expert import CENTRE, RADIUS, Pusher, between, move, screw

GOAL = np.array([256.0, 256.0, np.pi / 4])


def test_a_motion_and_the_way_between_two_poses_are_inverse() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        pose, motion = rng.uniform(-3, 3, (2, 3))
        np.testing.assert_allclose(between(pose, move(pose, motion)), motion, atol=1e-9)


def test_two_pushes_at_one_place_are_one_longer_push() -> None:
    twist = np.array([0.3, 0.8, 0.02])
    start = np.array([1.0, 2.0, 0.5])
    twice = move(move(start, screw(twist, np.array(7.0))), screw(twist, np.array(5.0)))
    np.testing.assert_allclose(twice, move(start, screw(twist, np.array(12.0))), atol=1e-9)


def test_a_push_does_in_the_simulation_what_it_does_in_the_table() -> None:
    pytest.importorskip("gym_pusht", reason="needs silri[pusht]")
    from gym_pusht.envs.pusht import PushTEnv

    env, table = PushTEnv(), expert._table()
    for index in range(0, len(table.place), 9):
        env.reset(seed=0)
        env.block.angle, env.block.position = 0.4, (250.0, 250.0)
        env.agent.velocity = (0.0, 0.0)
        body = np.array([250.0, 250.0, 0.4])
        turn = expert._turned(0.4)
        touch = table.place[index] - RADIUS * table.normal[index]
        env.agent.position = tuple(body[:2] + turn @ touch)
        after = move(Pusher.pose(body), screw(table.twist[index], np.array(6.0)))
        told = after[:2] + expert._turned(after[2]) @ (touch - CENTRE)
        for _ in range(20):
            env.step(told)
        real = Pusher.pose(np.array([*env.block.position, env.block.angle]))
        np.testing.assert_allclose(real[:2], after[:2], atol=0.7)
        np.testing.assert_allclose(real[2], after[2], atol=0.02)


def test_the_way_leads_around_the_t() -> None:
    below, above = np.array([30.0, 60.0]), np.array([30.0, -30.0])
    place, target = below.copy(), above
    for _ in range(200):
        following = Pusher._way(place, target)
        assert expert._clearance(place) > RADIUS - 1.0
        place = place + 4.0 * (following - place) / max(
            4.0, float(np.linalg.norm(following - place))
        )
        if np.linalg.norm(place - target) < 1.0:
            return
    pytest.fail("it never arrived")


def test_it_keeps_to_a_push_until_it_is_over_or_spoilt() -> None:
    pusher, body = Pusher(GOAL), np.array([200.0, 300.0, 1.0])
    pusher.target(body, np.array([400.0, 100.0]))
    assert pusher._decided is not None
    index, until = pusher._decided
    pusher.target(body, np.array([50.0, 450.0]))  # somebody moved the pusher
    assert pusher._decided == (index, until)
    pusher.target(body + np.array([40.0, -30.0, 0.7]), np.array([50.0, 450.0]))  # and here the T
    assert pusher._decided is not None
    assert pusher._decided[1] is not until
