"""Videos of evaluations: which episodes stay, and what is to be seen in them."""

from __future__ import annotations

import builtins
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from silri.configs.run import EvaluationConfig
from silri.core.errors import ConfigError, MissingExtraError
from silri.core.seeding import Stream, derive_seed
from silri.data.episode import EpisodeBuilder
from silri.evaluation.evaluate import evaluate_with
from silri.runtime.acting.autonomous import autonomous_in
from silri.runtime.acting.filming import Film, check_filmable
from silri.runtime.acting.rollout import Outcome
from silri.runtime.starting.opening import open_env_and_operator
from tests.fakes.envs.cameras import SIDE as CAMERA_SIDE
from tests.fakes.envs.cameras import SeenPoint
from tests.fakes.envs.drawn import NAME as DRAWN
from tests.fakes.envs.drawn import SIDE, DrawnPoint
from tests.fakes.envs.point import NAME as POINT
from tests.fakes.envs.point import FakeEnvConfig, PointMass
from tests.fakes.models.agent import registered
from tests.fakes.runs import tiny_run, train

av = pytest.importorskip("av")


def film(folder, env, successes, keep, *, drive=None, notify=None):
    """Film episodes that succeed, or fail in the last step that there is, as told."""
    said = []
    filming = Film(folder, env, keep, 10.0, notify or said.append)

    def actor(observation, episode, step):
        return env.privileged().expert_action if successes[episode] else np.zeros(4)

    evaluate_with(env.env_spec, filming.of(drive or autonomous_in(env)), actor, len(successes))
    assert notify or not said
    return filming


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def frames(path):
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "h264"  # any player shows it
        assert container.streams.video[0].average_rate == 10
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.parametrize(
    ("successes", "keep", "kept"),
    [
        ("+++", 2, ["000_success", "001_success"]),
        ("+-+-", 2, ["001_failure", "003_failure"]),
        ("++-+", 2, ["000_success", "002_failure"]),
        ("----", 3, ["000_failure", "001_failure", "002_failure"]),
        ("-+", 9, ["000_failure", "001_success"]),
    ],
)
def test_failures_come_first_and_nothing_else_is_left(tmp_path, successes, keep, kept):
    filming = film(tmp_path, DrawnPoint(), [mark == "+" for mark in successes], keep)
    assert names(tmp_path) == [f"episode_{name}.mp4" for name in kept]
    in_order = sorted(kept, key=lambda name: name.endswith("success"))  # is stable
    assert [path.name for path in filming.kept] == [f"episode_{name}.mp4" for name in in_order]


def test_a_drawn_episode_is_seen_from_the_reset_to_the_end(tmp_path):
    env, pictures = DrawnPoint(), []
    draw = env.render
    env.render = lambda: (pictures.append(draw()), pictures[-1])[1]
    film(tmp_path, env, [True], 1)
    shown = frames(tmp_path / "episode_000_success.mp4")
    assert len(shown) == len(pictures) == env.steps + 1
    assert shown[0].shape == (SIDE, SIDE, 3)
    for seen, drawn in zip(shown, pictures, strict=True):
        assert np.abs(seen.astype(int) - drawn).mean() < 4  # lossy
    assert np.abs(pictures[0].astype(int) - pictures[-1]).mean() > 5  # it has moved


def test_cameras_are_side_by_side(tmp_path):
    env = SeenPoint()
    film(tmp_path, env, [False], 1)
    shown = frames(tmp_path / "episode_000_failure.mp4")
    assert len(shown) == env.steps + 1
    assert shown[0].shape == (CAMERA_SIDE, 2 * CAMERA_SIDE, 3)
    last = env._observation()
    wanted = np.concatenate([last["front"], last["side"]], axis=1)
    assert np.abs(shown[-1].astype(int) - wanted).mean() < 12


class Odd(SeenPoint):
    """Cameras of different and odd sizes, one of them grey."""

    def __init__(self):
        super().__init__()
        shapes = {"front": (31, 21, 1), "side": (20, 32, 3)}
        specs = {
            key: replace(spec, shape=shapes.get(key, spec.shape))
            for key, spec in self.env_spec.observation.items()
        }
        object.__setattr__(self.env_spec, "observation", specs)

    def _observation(self):
        seen = super()._observation()
        return {**seen, "front": seen["front"][:31, :21, :1], "side": seen["side"][:20]}


def test_cameras_of_odd_sizes_are_padded(tmp_path):
    film(tmp_path, Odd(), [False], 1)
    shown = frames(tmp_path / "episode_000_failure.mp4")
    assert shown[0].shape == (32, 22 + 32, 3)
    assert shown[0][22:, 24:].max() < 40  # below the lower one: black


def test_nothing_is_drawn_once_there_are_enough_failures(tmp_path):
    env, drawn = DrawnPoint(), []
    draw = env.render
    env.render = lambda: (drawn.append(env.resets[-1]), draw())[1]
    film(tmp_path, env, [False, False, True, False], 1)
    assert set(drawn) == {derive_seed(0, Stream.EVALUATION_LAYOUT, 0)}


def test_filming_changes_no_episode(tmp_path):
    def run(env, filmed):
        drive = autonomous_in(env)
        if filmed:
            drive = Film(tmp_path, env, 2, 10.0, print).of(drive)
        act = lambda observation, episode, step: env.privileged().expert_action  # noqa: E731
        return evaluate_with(env.env_spec, drive, act, 4)

    plain, filmed = run(DrawnPoint(), False), run(DrawnPoint(), True)
    np.testing.assert_array_equal(plain.returns, filmed.returns)
    np.testing.assert_array_equal(plain.lengths, filmed.lengths)


def test_frames_do_not_wait_in_memory(tmp_path):
    class Long(DrawnPoint):
        def render(self):
            return np.zeros((240, 320, 3), np.uint8)  # 0.23 MB

    env = Long(config=FakeEnvConfig(max_episode_steps=30))
    tracemalloc.start()
    try:
        film(tmp_path, env, [False], 1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(frames(tmp_path / "episode_000_failure.mp4")) == 31
    assert peak < 10 * 240 * 320 * 3


def test_an_earlier_evaluation_s_videos_are_replaced(tmp_path):
    (tmp_path / "episode_007_failure.mp4").write_bytes(b"old")
    (tmp_path / "episode_008.mp4.tmp").write_bytes(b"a process was killed")
    (tmp_path / "mine.txt").write_text("is kept")
    film(tmp_path, DrawnPoint(), [True], 1)
    assert names(tmp_path) == ["episode_000_success.mp4", "mine.txt"]


@pytest.mark.parametrize("end", ["stopped", "discarded", "abandoned"])
def test_what_is_no_result_is_not_kept(tmp_path, end):
    env = DrawnPoint()
    drive = autonomous_in(env)

    def ended(policy, builder):
        drive(policy, builder)
        return Outcome(end)

    builder = EpisodeBuilder(env.env_spec, 0, False, 0, "", "none")
    Film(tmp_path, env, 1, 10.0, print).of(ended)(_Idle(), builder)
    assert names(tmp_path) == []


class _Idle:
    version = 0

    def propose(self, observation, episode, step):
        return np.zeros(4, np.float32), {}


def test_an_exception_leaves_nothing_behind(tmp_path):
    env = DrawnPoint()
    drive = autonomous_in(env)

    def broken(policy, builder):
        drive(policy, builder)
        raise KeyboardInterrupt

    builder = EpisodeBuilder(env.env_spec, 0, False, 0, "", "none")
    with pytest.raises(KeyboardInterrupt):
        Film(tmp_path, env, 1, 10.0, print).of(broken)(_Idle(), builder)
    assert names(tmp_path) == []


def test_a_fault_is_filmed_up_to_where_it_happened(tmp_path):
    env = DrawnPoint()
    step = env.step

    def fail(action):
        if env.steps == 2:
            raise RuntimeError("it fell off the table")
        return step(action)

    env.step = fail
    film(tmp_path, env, [False], 1)
    assert len(frames(tmp_path / "episode_000_failure.mp4")) == 3


def test_a_picture_that_fails_costs_the_film_and_no_episode(tmp_path):
    env, said = DrawnPoint(), []
    draw = env.render

    def fail():
        if env.steps >= 3:
            raise RuntimeError("the lamp is broken")
        return draw()

    env.render = fail
    film(tmp_path, env, [False, False], 2, notify=said.append)
    assert env.steps == 2 * env.env_spec.max_episode_steps
    assert said == [
        "the rest is not filmed: env.render raised RuntimeError: the lamp is broken",
    ]
    assert names(tmp_path) == []


# -- before the run --------------------------------------------------------------------------------


def without_av(monkeypatch):
    original = builtins.__import__

    def refuse(name, *arguments, **keywords):
        if name == "av":
            raise ImportError(name)
        return original(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", refuse)


def test_without_the_extra_one_line_says_so(monkeypatch):
    without_av(monkeypatch)
    with pytest.raises(MissingExtraError, match=r"evaluation.videos needs an extra: .*\[video\]"):
        check_filmable(DrawnPoint(), "evaluation.videos")


def test_cameras_suffice_and_nothing_to_see_is_refused():
    check_filmable(SeenPoint(), "evaluation.videos")
    with pytest.raises(ConfigError, match="evaluation.videos: fake/one-arm has nothing to film"):
        check_filmable(PointMass(), "evaluation.videos")
    blind = DrawnPoint()
    blind.render = lambda: None
    with pytest.raises(ConfigError, match="nothing to film"):
        check_filmable(blind, "evaluation.videos")


@pytest.fixture
def fake():
    with registered():
        yield


def filmed_run(env_name, **fields):
    evaluation = EvaluationConfig(every=15, episodes=2, videos=1)
    return tiny_run("fake", evaluation=evaluation, env_name=env_name, **fields)


@pytest.mark.usefixtures("fake")
def test_a_run_is_refused_before_it_begins(monkeypatch):
    closed = []

    def close(self):
        closed.append(self)

    monkeypatch.setattr(PointMass, "close", close)
    with pytest.raises(ConfigError, match="nothing to film"):
        open_env_and_operator(filmed_run(POINT))
    assert len(closed) == 1


@pytest.mark.usefixtures("fake")
def test_a_run_films_each_of_its_evaluations(tmp_path):
    run = train(filmed_run(DRAWN, steps=20), tmp_path / "run")
    steps = [record["step"] for record in run.state.evaluations]
    assert names(run.folder.videos) == [f"step_{step:09d}" for step in steps]
    for step, record in zip(steps, run.state.evaluations, strict=True):
        (video,) = (run.folder.videos / f"step_{step:09d}").iterdir()
        failed = record["successes"] < record["episodes"]
        assert video.stem.endswith("failure" if failed else "success")
        assert len(frames(video)) > 1
