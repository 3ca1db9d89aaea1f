"""The mirror does what the run does, bit for bit, and what it draws is a picture."""

from __future__ import annotations

import io
import os
import queue
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from silri.console.drawing.mirror import NICE, Mirror, step_back
from silri.console.drawing.painter import Painter
from silri.core.errors import EnvironmentFault, SilriError
from silri.envs.config import GymConfig
from silri.envs.registry import create_env, find_env
from tests.fakes.envs.gym_point import IDENTIFIER
from tests.fakes.envs.point import PointMass
from tests.source import PACKAGE

DRAWER = "metaworld/drawer-open-v3"
CONFIG = find_env(DRAWER).preset().config


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
def test_who_draws_steps_back_and_nobody_else():
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    with ThreadPoolExecutor(1, initializer=step_back) as pool:
        own = pool.submit(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        assert own.result() == NICE
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


def test_it_is_the_run_bit_for_bit():
    run, mirror = create_env(DRAWER, CONFIG), Mirror.of(DRAWER, CONFIG)
    rng = np.random.default_rng(3)
    run.reset(seed=11)
    mirror.reset(4)
    for seed in (5, 6):
        observation, _ = run.reset(seed=seed)
        mirror.reset(seed, observation)
        for _ in range(30):
            action = run.env_spec.action.snap(rng.uniform(-1, 1, 4))
            observation, *_ = run.step(action)
            mine, *_ = mirror.env.step(action.copy())
            for key, value in observation.items():
                np.testing.assert_array_equal(mine[key], value)
    run.close()
    mirror.close()


def test_it_says_when_it_does_not_see_what_the_run_saw():
    run, mirror = PointMass(), Mirror(PointMass())
    observation, _ = run.reset(seed=1)
    mirror.reset(1, observation)
    action = np.float32([0.1, 0, 0, -1])
    mirror.step(action, run.step(action)[0])
    assert mirror.exact
    observation, *_ = run.step(action)
    mirror.step(action, {key: value + np.float32(2e-3) for key, value in observation.items()})
    assert not mirror.exact
    mirror.step(action, run.step(action)[0])
    assert not mirror.exact  # until the next episode
    observation, _ = run.reset(seed=2)
    mirror.reset(2, observation)
    assert mirror.exact


def test_what_cannot_be_drawn_is_one_line():
    with pytest.raises(SilriError, match="has no render"):
        Mirror.of(
            "tests.fakes.envs.point:Fake", find_env("tests.fakes.envs.point:Fake").preset().config
        )


def test_a_gymnasium_environment_gives_pictures_only_if_asked():
    assert create_env("Pendulum-v1", GymConfig()).render() is None
    mirror = Mirror.of(IDENTIFIER, GymConfig(gripper_dims=(3,)))
    mirror.reset(1)
    assert mirror.picture() is None  # it has no render mode


class Drawn(PointMass):
    """A point mass with a picture that says which step it is."""

    fails = ""

    def render(self):
        if self.fails:
            raise EnvironmentFault(self.fails)
        return np.full((8, 8, 3), 10 * self._taken + 5, np.uint8)


class Watched:
    """A painter, and what comes of it."""

    def __init__(self, mirror=True, cameras=(), env=Drawn):
        self.pictures, self.said, self.opened = queue.Queue(), queue.Queue(), queue.Queue()
        self.env = env()
        self.painter = Painter(
            (lambda: Mirror(self.env)) if mirror else None,
            cameras,
            lambda *picture: self.pictures.put(picture),
            lambda *said: self.said.put(said),
            self.opened.put,
        )
        self.run = PointMass()

    def __enter__(self):
        self.mirror = self.opened.get(timeout=5)
        return self

    def __exit__(self, *_):
        self.painter.close()

    def begin(self, seed, **more):
        observation, _ = self.run.reset(seed=seed)
        self.painter.begin(seed, observation | more)

    def step(self, number, **more):
        action = np.float32([0.1, 0, 0, -1])
        observation, *_ = self.run.step(action)
        self.painter.step(number, action, observation | more)

    def picture(self):
        camera, number, step, data = self.pictures.get(timeout=5)
        image = np.asarray(Image.open(io.BytesIO(data)))
        return camera, number, step, float(image.mean())


def test_only_what_somebody_looks_at_is_drawn_and_only_the_newest():
    with Watched() as watched:
        watched.begin(1)
        watched.painter.want(0)
        assert watched.picture() == (0, 1, 0, pytest.approx(5, abs=2))
        assert watched.said.get(timeout=5) == ("exact", "")
        for number in range(1, 6):
            watched.step(number)
        watched.painter.want(0)
        camera, number, step, shade = watched.picture()
        assert shade == pytest.approx(10 * step + 5, abs=2)
        while step < 5:  # the first may have been drawn on the way
            watched.painter.want(0)
            camera, number, step, shade = watched.picture()
        assert (camera, number) == (0, 6)
        watched.painter.want(0)  # there is nothing newer
        watched.painter.want(7)  # nor such a camera
        with pytest.raises(queue.Empty):
            watched.pictures.get(timeout=0.1)
        watched.begin(2)
        assert watched.picture()[2] == 0


def test_a_step_that_was_dropped_is_said_until_the_next_episode():
    with Watched() as watched:
        watched.begin(1)
        watched.step(1)
        watched.step(2)
        assert watched.said.get(timeout=5) == ("exact", "")
        watched.run.step(np.zeros(4, np.float32))
        watched.step(4)
        assert watched.said.get(timeout=5)[0] == "approximate"
        watched.step(5)
        watched.begin(2)
        assert watched.said.get(timeout=5) == ("exact", "")


def test_cameras_of_the_observation_need_no_mirror():
    def image(shade):
        return {"images.top": np.full((6, 6, 3), shade, np.uint8)}

    with Watched(mirror=False, cameras=["images.top"]) as watched:
        assert watched.mirror is None
        watched.begin(1, **image(40))
        watched.painter.want(0)
        assert watched.picture() == (0, 1, 0, pytest.approx(40, abs=2))
        watched.step(1, **image(90))
        watched.painter.want(0)
        assert watched.picture() == (0, 2, 1, pytest.approx(90, abs=2))


def test_where_nothing_draws_the_page_has_no_scene_and_goes_on():
    class Blind(Drawn):
        fails = "MuJoCo cannot draw here"

    def image(shade):
        return {"images.top": np.full((6, 6, 3), shade, np.uint8)}

    with Watched(env=Blind, cameras=["images.top"]) as watched:
        assert watched.mirror is None
        assert watched.said.get(timeout=5) == ("none", "MuJoCo cannot draw here")
        assert watched.env.closed
        watched.begin(1, **image(40))
        watched.painter.want(0)
        watched.painter.want(1)
        assert watched.picture()[0] == 1


DRAW = """
import numpy as np
from silri.console.drawing.mirror import Mirror
from silri.envs.registry import find_env
name = "metaworld/drawer-open-v3"
mirror = Mirror.of(name, find_env(name).preset().config)
mirror.reset(3)
first = mirror.picture()
assert first.shape == (256, 256, 3) and first.dtype == np.uint8
assert 40 < first.mean() < 220 and first.std() > 25, (first.mean(), first.std())
assert (mirror.picture() == first).all()
assert mirror.view[2][1] > 0.5  # +z is up

def yellow(image):  # the plumb line from the hand to the table
    r, g, b = np.moveaxis(image.astype(int), -1, 0)
    return np.argwhere((r > 150) & (g > 120) & (b < 90) & (r - b > 80))

before = yellow(first)
for _ in range(10):
    mirror.step(np.float32([0, 0, 1, -1]))
after = yellow(mirror.picture())
assert len(before) > 5, len(before)
assert np.ptp(after[:, 0]) > np.ptp(before[:, 0]) + 10  # the hand is higher, the line longer
assert abs(np.ptp(after[:, 1])) < 8  # and upright
mirror.close()
print("drawn")
"""


@pytest.mark.slow
def test_metaworld_is_drawn_upright():
    """In a process of its own: MuJoCo decides on import what it draws with."""
    environment = {key: value for key, value in os.environ.items() if key != "MUJOCO_GL"}
    environment["PYTHONPATH"] = str(PACKAGE.parent)
    done = subprocess.run(
        [sys.executable, "-c", DRAW], capture_output=True, text=True, env=environment, check=False
    )
    assert done.stdout == "drawn\n", done.stderr[-2000:]


def test_metaworld_says_what_drawing_takes():
    mirror = Mirror.of(DRAWER, CONFIG)  # the tests turn OpenGL off
    mirror.reset(3)
    with pytest.raises(
        EnvironmentFault, match=r"^the scene cannot be drawn \(it is turned off, MUJOCO_GL=disabled"
    ):
        mirror.picture()
    mirror.close()
