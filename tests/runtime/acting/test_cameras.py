"""A real robot's camera that goes wrong is named and pauses the run; a simulation's is let be."""

from __future__ import annotations

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from silri.core.clock import FakeClock
from silri.core.commands import Command, CommandQueue
from silri.core.protocols import OperatorInput
from silri.core.specs import ArraySpec, EnvSpec
from silri.data.episode import EpisodeBuilder
from silri.runtime.acting.cameras import CameraWatch
from silri.runtime.acting.driver import Driver
from tests.fakes.envs.point import PointMass
from tests.fakes.runs import tiny_run

TOP, WRIST = "images.top", "images.wrist"
PATIENCE = 3


class Cell(PointMass):
    """A point mass with two cameras with noise; ``wrong`` does something to what they see."""

    def __init__(self, wrong=lambda seen, step: None):
        super().__init__()
        image = ArraySpec((6, 6, 3), "uint8")
        observation = {**self.env_spec.observation, TOP: image, WRIST: image}
        self.env_spec = replace(self.env_spec, observation=observation, max_episode_steps=8)
        self._wrong, self._noise = wrong, np.random.default_rng(0)

    def _observation(self):
        def look():
            return self._noise.integers(20, 255, (6, 6, 3), np.uint8)

        seen = {**super()._observation(), TOP: look(), WRIST: look()}
        self._wrong(seen, self._taken)
        return seen


class RealCell(Cell):
    """One that paces itself, as robots do."""

    def pace(self, wait):
        self.wait = wait


class Still:
    """Proposes a small motion that never reaches the goal."""

    version = 0

    def propose(self, observation, episode, step):
        return np.float32([0.01, 0.01, 0.01, -1.0]), {}


class Nobody:
    """Watches; a person presses resume at the desk after a while."""

    def __init__(self, commands):
        self.commands, self.asked = commands, 0

    def begin_episode(self, rng):
        pass

    def decide(self, view):
        self.asked += 1
        if self.asked == 12:
            self.commands.put(Command.RESUME)
        return OperatorInput(engaged=False)


def train(env, tmp_path, **runtime):
    """One episode of training: outcome, what was said, seconds paused, steps, driver."""
    config = tiny_run()
    config = replace(config, runtime=replace(config.runtime, **runtime))
    commands, said, clock, steps = CommandQueue(), [], FakeClock(), []
    driver = Driver(
        config,
        env,
        Still(),
        Nobody(commands),
        clock=clock,
        stop=lambda: clock.now() > 10.0,
        commands=commands,
        notify=lambda text, fields: said.append(text),
        errors=tmp_path / "errors.log",
        on_step=lambda transition, diagnostics: steps.append(transition),
    )
    builder = EpisodeBuilder(env.env_spec, 5, False, 3, "task", "person")
    outcome = driver.train(builder, np.random.default_rng(0))
    return outcome, said, clock.now(), len(steps), driver


def freeze(key):
    first = np.full((6, 6, 3), 90, np.uint8)

    def wrong(seen, step):
        seen[key] = first

    return wrong


def darken(seen, step):
    seen[WRIST] //= 64  # some noise is left


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (freeze(TOP), f"camera '{TOP}' is frozen: the same picture 3 times while the robot moved"),
        (darken, f"camera '{WRIST}' is dark: no pixel of 3 pictures above 8"),
    ],
)
def test_a_robots_camera_is_named_and_the_run_pauses_until_somebody_resumes(
    tmp_path, wrong, sentence
):
    outcome, said, paused, steps, _ = train(RealCell(wrong), tmp_path, camera_patience=PATIENCE)
    assert said[0] == f"{sentence}; paused: look at it, then 'resume'"
    # It waits from the fourth decision until the twelfth look, and nobody acts meanwhile; then it
    # goes on, is still wrong, and waits again until the run is stopped.
    assert (outcome.end, steps, len(said)) == ("stopped", 2 * PATIENCE, 2)
    assert paused > 10.0


@pytest.mark.parametrize(
    ("cell", "wrong", "patience"),
    [
        (Cell, freeze(TOP), PATIENCE),  # a simulation may show the same picture for ever
        (RealCell, freeze(TOP), 0),  # turned off
        (RealCell, freeze(TOP), 9),  # more patience than the episode has steps
        (RealCell, lambda seen, step: None, PATIENCE),
    ],
)
def test_who_is_not_paused(tmp_path, cell, wrong, patience):
    outcome, said, paused, steps, _ = train(cell(wrong), tmp_path, camera_patience=patience)
    assert (outcome.end, said, paused, steps) == ("finished", [], 0.0, 8)


def lose(seen, step):
    if step == 2:
        seen[TOP] = None


def drop(seen, step):
    if step == 2:
        del seen[TOP]


def turn(seen, step):
    if step == 2:
        seen[TOP] = np.zeros((8, 6, 3), np.uint8)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lose, "'observation.images.top' is None: the camera gave no picture"),
        (drop, "observation of fake/one-arm has keys ['environment_state', 'images.wrist'"),
        (turn, "'observation.images.top' has shape (8, 6, 3); the spec says (6, 6, 3)"),
    ],
)
@pytest.mark.parametrize("cell", [Cell, RealCell])
def test_a_picture_that_is_none_ends_the_episode_and_pauses_the_robots_next(
    tmp_path, cell, wrong, sentence
):
    outcome, said, _, steps, driver = train(cell(wrong), tmp_path)
    assert (outcome.end, steps) == ("fault", 1)
    assert outcome.reason.startswith(f"CameraFault: {sentence}")
    assert driver._arbiter.holds(OperatorInput(engaged=False)) == (cell is RealCell)
    assert any(sentence in text for text in said) == (cell is RealCell)


def seen(watch, pictures, numbers):
    """What is said of each step."""
    rows = [
        {"state": np.float32([number]), TOP: np.full((2, 2, 3), picture, np.uint8)}
        for picture, number in zip(pictures, numbers, strict=True)
    ]
    return [
        len(watch.see(SimpleNamespace(observation=before, next_observation=now)))
        for before, now in itertools.pairwise(rows)
    ]


SPEC = EnvSpec(
    name="cell",
    observation={"state": ArraySpec((1,)), TOP: ArraySpec((2, 2, 3), "uint8")},
    action=PointMass().env_spec.action,
    max_episode_steps=9,
)


@pytest.mark.parametrize(
    ("pictures", "numbers", "said"),
    [
        ((9, 9, 9, 9, 9), (0, 1, 2, 3, 4), [0, 1, 0, 1]),  # again after as many
        ((9, 9, 9, 9, 9), (0, 0, 0, 0, 0), [0, 0, 0, 0]),  # the robot stands still
        ((9, 9, 9, 9, 9), (0, 1, 1, 1, 2), [0, 0, 0, 1]),  # and moves on
        ((9, 9, 8, 8, 8), (0, 1, 2, 3, 4), [0, 0, 0, 1]),  # one picture between is a new one
        ((0, 7, 0, 7, 0), (0, 1, 2, 3, 4), [0, 1, 0, 1]),  # noise in the dark
        ((0, 8, 0, 8, 0), (0, 1, 2, 3, 4), [0, 0, 0, 0]),
    ],
)
def test_what_counts(pictures, numbers, said):
    assert seen(CameraWatch(SPEC, 2), pictures, numbers) == said
