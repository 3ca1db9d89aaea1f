"""What ``import silri`` offers, with an agent that compiles nothing, and one real one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import silri
from silri.core.errors import (
    ConfigError,
    DataError,
    NonFiniteError,
    SpecError,
    UnknownNameError,
    UsageError,
)
from silri.core.events import EpisodeFinished, Evaluated, StepTaken
from silri.store.dataset import read_dataset
from tests.data.episodes import assert_equal
from tests.fakes.envs.gym_point import IDENTIFIER, GymPoint
from tests.fakes.envs.odd import IDS
from tests.fakes.envs.point import PointMass
from tests.fakes.models.agent import registered
from tests.fakes.runs import Recorder, summary
from tests.source import ROOT

FEW = {
    "data": {"demos": 2},
    "evaluation": {"every": 20, "episodes": 3},
    "runtime": {"tensorboard": False, "checkpoint_every": 10},
}
POINT = {"name": IDENTIFIER, "gripper_dims": [3]}


@pytest.fixture(scope="module", autouse=True)
def fake():
    with registered():
        yield


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SILRI_COMPILATION_CACHE", "")


def short(env=POINT, **fields):
    """A run of a moment."""
    return silri.train("fake", env, "expert", steps=30, **{**FEW, **fields})


def point(**settings):
    return silri.make_env(
        gymnasium.wrappers.TimeLimit(GymPoint(), 8), **{"max_episode_steps": 8, **settings}
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return short(out=tmp_path_factory.mktemp("trained") / "run")


# -- importing -------------------------------------------------------------------------------------


def test_importing_it_loads_nothing_and_takes_no_time():
    code = """
import sys, time
before, started = set(sys.modules), time.process_time()
import silri
took = time.process_time() - started
assert took < 0.05, took
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
assert not loaded - {"silri"} - set(sys.stdlib_module_names), loaded
assert "silri.core" not in sys.modules
assert set(silri.__all__) <= set(dir(silri))
silri.read_episodes
assert not {"jax", "ray", "gymnasium"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_name_is_there_and_has_an_example_in_its_words():
    for name in silri.__all__:
        words = getattr(silri, name).__doc__
        assert words, name
        assert name[0].isupper() or "Example::" in words, name
    with pytest.raises(AttributeError, match="has no attribute 'tarin'"):
        silri.tarin  # noqa: B018


def test_the_page_lists_what_is_public():
    page = (ROOT / "docs/reference/api.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `silri\.(\w+)", page, re.MULTILINE)
    assert sorted(listed) == sorted(silri.__all__)


# -- train -----------------------------------------------------------------------------------------


def test_a_run_is_the_one_of_the_command_line(trained, tmp_path):
    from silri.cli.main import main

    arguments = ["train", "--agent", "fake", "--env", IDENTIFIER, "--env.gripper-dims", "3"]
    arguments += ["--operator", "expert", "--steps", "30", "--data.demos", "2"]
    arguments += ["--evaluation.every", "20", "--evaluation.episodes", "3", "--out", "cli"]
    arguments += ["--runtime.tensorboard", "False", "--runtime.checkpoint-every", "10"]
    assert main(arguments) == 0
    assert summary("cli") == summary(trained.folder)
    ours, theirs = (
        json.loads((path / "config.json").read_text())["run"]
        for path in (trained.folder, Path("cli"))
    )
    assert ours == theirs
    for one, other in zip(trained.episodes, read_dataset(Path("cli/episodes")), strict=True):
        assert_equal(one, other)
    assert (trained.folder / "curve.png").stat().st_size > 0


def test_subscribers_may_be_functions_and_objects():
    heard, recorder = [], Recorder()
    run = short(subscribers=[heard.append, recorder], out="run")
    assert heard == recorder.events
    assert sum(isinstance(event, StepTaken) for event in heard) == run.summary["env_steps"]
    assert any(isinstance(event, Evaluated) for event in heard)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"subscribers": [3]}, "subscribers takes functions, or objects with on_event, got 3"),
        ({"subscribers": print}, "subscribers takes a list, got <built-in function print>"),
        ({"stop": True}, "stop takes a function that gives True or False, got True"),
        ({"data": {"dataset": object()}}, "takes numbers, texts, lists .*, got <object object"),
    ],
)
def test_what_cannot_be_called_is_refused_before_anything_is_written(settings, message):
    with pytest.raises(UsageError, match=message):
        short(out="run", **settings)
    assert not Path("run").exists()


def test_numpys_numbers_are_numbers_and_paths_are_texts():
    """As in ``for seed in np.arange(5)``."""
    run = silri.train(
        *("fake", POINT, "expert"), steps=np.int64(8), seed=np.arange(4)[3], out=Path("run"), **FEW
    )
    stored = json.loads((run.folder / "config.json").read_text())["run"]
    assert (stored["steps"], stored["seed"]) == (8, 3)
    with pytest.raises(ConfigError, match="there is no folder nowhere"):
        short(data={"dataset": Path("nowhere")})


def test_settings_are_nested_by_section_and_checked():
    run = silri.train({"name": "fake", "batch_size": 4}, POINT, "expert", steps=8, seed=3, **FEW)
    stored = json.loads((run.folder / "config.json").read_text())["run"]
    assert (stored["agent"]["batch_size"], stored["seed"]) == (4, 3)
    assert str(run.folder) == f"runs/fake_{IDENTIFIER}_s3"
    with pytest.raises(ConfigError, match=r"silri.train: data has no field 'demoes'"):
        short(data={"demoes": 3})
    with pytest.raises(ConfigError, match=r"silri.train: .* no field 'nothing'"):
        short(nothing={})
    with pytest.raises(UsageError, match="operator takes a name or a dictionary with a 'name'"):
        silri.train("fake", POINT, 3)
    with pytest.raises(UnknownNameError, match="unknown environment 'Arm'"):
        silri.train("fake", "Arm")


def test_a_stopped_run_is_told_and_goes_on_to_the_same_end(trained):
    asked = iter(range(10_000))
    half = short(out="run", stop=lambda: next(asked) > 60)
    assert half.summary["completed"] is False
    whole = silri.train(resume="run")
    assert whole.summary["completed"] is True
    assert summary("run") == summary(trained.folder)
    with pytest.raises(UsageError, match="keeps its configuration; it takes no agent, seed"):
        silri.train("fake", resume="run", seed=0)
    with pytest.raises(ConfigError, match=f"was made with env {re.escape(IDENTIFIER)}, not Pend"):
        silri.train(env="Pendulum-v1", resume="run")
    assert silri.train(resume="run", steps=40).summary["env_steps"] >= 40


def test_nothing_is_written_where_something_is(trained):
    with pytest.raises(UsageError, match="exists and is not empty"):
        short(out=trained.folder)
    with pytest.raises(ConfigError, match="operator 'none' cannot demonstrate"):
        silri.train("fake", POINT, "none", out="run")
    assert not Path("run").exists()


# -- environment objects ---------------------------------------------------------------------------


class Counted(GymPoint):
    """Knows whether it is closed, and how often it was made."""

    made = 0

    def __init__(self):
        super().__init__()
        Counted.made += 1
        self.closed = False

    def close(self):
        self.closed = True


def test_an_object_is_trained_and_evaluated_in_and_stays_open():
    Counted.made = 0
    env = silri.make_env(Counted(), max_episode_steps=8, gripper_dims=(3,))
    seen = []
    run = short(env, out="run", subscribers=[seen.append])
    assert Counted.made == 1
    assert not env.unwrapped._env.unwrapped.closed
    stored = json.loads(Path("run/config.json").read_text())["run"]["env"]
    assert (stored["name"], stored["gripper_dims"]) == ("object/Counted", [3])
    # As on a robot: an evaluation waits for the end of the episode in which it is due.
    kinds = [type(event) for event in seen if isinstance(event, EpisodeFinished | Evaluated)]
    assert kinds[kinds.index(Evaluated) - 1] is EpisodeFinished
    assert run.summary["completed"]
    assert silri.evaluate(run, env, 3).episodes == 3
    assert not env.unwrapped._env.unwrapped.closed


def test_a_run_of_an_object_goes_on_with_the_object_given_again():
    run = short(point(gripper_dims=(3,)), out="run")
    with pytest.raises(ConfigError, match="made with the environment object object/GymPoint: give"):
        silri.train(resume="run", steps=60)
    with pytest.raises(ConfigError, match="object/GymPoint .* got object/Odd"):
        silri.train(env=gymnasium.make(IDS["Fine"]), resume="run", steps=60)
    again = silri.train(env=gymnasium.wrappers.TimeLimit(GymPoint(), 8), resume="run", steps=60)
    assert again.summary["env_steps"] >= 60
    with pytest.raises(ConfigError, match=r"was an object in a program.*silri.evaluate\(RUN, env="):
        silri.evaluate(run)
    from silri.cli.main import main

    assert main(["eval", "run"]) == 2


def test_an_object_of_silris_own_protocol():
    env = PointMass()
    run = short(env, out="run")
    stored = json.loads(Path("run/config.json").read_text())["run"]["env"]
    assert stored["name"] == "given/PointMass"
    assert not env.closed
    assert silri.train(env=PointMass(), resume="run", steps=40).summary["env_steps"] >= 40
    assert silri.evaluate(run.policy, PointMass(), 2).success is not None


@pytest.mark.parametrize(
    ("env", "settings", "message"),
    [
        (3, {}, "takes a name, a gymnasium.Env or a silri.core.protocols.Env, got int"),
        (PointMass(), {"reward": "env"}, "PointMass is made already: it takes no settings"),
        (GymPoint(), {}, "has no step limit; .*in Python max_episode_steps=200"),
        (GymPoint(), {"speed": 3}, "env has no field 'speed'"),
        ("Pendulum-v1", {"action_repeat": 0}, "env.action_repeat takes a whole number >= 1"),
    ],
)
def test_what_is_no_environment(env, settings, message):
    with pytest.raises(UsageError, match=message):
        silri.make_env(env, **settings)


def test_an_environment_by_name_with_settings():
    env = silri.make_env("Pendulum-v1", success_return=-200.0)
    assert env.env_spec.max_episode_steps == 200
    observation, _ = env.reset(seed=0)
    assert observation["state"].shape == (3,)
    assert env.step(np.zeros(1))[4]["judged"]


# -- a policy in a program -------------------------------------------------------------------------


def test_a_policy_acts_as_it_was_evaluated(trained):
    policy = silri.load(trained.folder)
    assert policy.spec.action.size == 4
    env = silri.make_env(IDENTIFIER, gripper_dims=(3,))
    observation, _ = env.reset(seed=0)
    policy.reset()
    action = policy(observation)
    assert (action.shape, action.dtype) == ((4,), np.float32)
    assert np.abs(action).max() <= 1
    assert action[3] in (-1.0, 1.0), "a gripper is open or closed"
    batch = policy({key: np.stack([value] * 5) for key, value in observation.items()})
    np.testing.assert_allclose(batch, np.stack([action] * 5), rtol=1e-5, atol=1e-6)
    assert "Policy(fake for gym/Point-v0" in repr(policy)


def test_a_copy_of_the_policy_folder_is_enough(trained, tmp_path):
    import shutil

    shutil.copytree(trained.folder / "policy", tmp_path / "deployed")
    zeros = {k: np.zeros(a.shape) for k, a in trained.policy.spec.observation.items()}
    one, other = silri.load("deployed")(zeros), trained.policy(zeros)
    np.testing.assert_array_equal(one, other)
    assert silri.evaluate("deployed", episodes=2).episodes == 2
    with pytest.raises(DataError, match="nowhere/policy holds no exported policy"):
        silri.load("nowhere")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda o: {}, SpecError, r"the observation has \[\]; it takes \['environment_state'"),
        (lambda o: {**o, "more": 1}, SpecError, "has .*'more'"),
        (lambda o: o["state"], SpecError, "the observation is ndarray; .* takes a dict with"),
        (lambda o: {**o, "state": o["state"][:-1]}, SpecError, "shapes are .* leading axis, or no"),
        (lambda o: {**o, "state": o["state"][None]}, SpecError, "all of them with a leading axis"),
        (lambda o: {k: v[None, None] for k, v in o.items()}, SpecError, "the observation's shapes"),
        (lambda o: {**o, "state": o["state"] * np.nan}, NonFiniteError, "'state' is not finite"),
        (lambda o: {**o, "state": o["state"] + 1e300}, NonFiniteError, "'state' is not finite"),
        (lambda o: {**o, "state": o["state"] + 1j}, SpecError, "'observation.state' is .* numbers"),
        (lambda o: {**o, "state": ["left"]}, SpecError, "'observation.state' is .*; it takes numb"),
    ],
)
def test_what_does_not_fit_a_policy_is_named(trained, change, error, message):
    zeros = {k: np.zeros(a.shape) for k, a in trained.policy.spec.observation.items()}
    with pytest.raises(error, match=message):
        trained.policy(change(zeros))


# -- evaluate --------------------------------------------------------------------------------------


def test_an_evaluation_is_that_of_the_command_line(trained):
    from silri.cli.main import main

    result = silri.evaluate(trained, episodes=6)
    assert main(["eval", str(trained.folder), "--episodes", "6"]) == 0
    report = json.loads((trained.folder / "evaluation_mean.json").read_text())
    assert result.success == report["success_rate"] == result.successes.mean()
    assert result.interval == (report["ci_low"], report["ci_high"])
    assert result.mean_return == report["mean_return"] == result.returns.mean()
    assert str(result).endswith("of 6 episodes")
    later = silri.evaluate(trained, episodes=2, first_layout=4)
    np.testing.assert_array_equal(later.returns, result.returns[4:])


def test_any_function_can_be_evaluated():
    env = point(gripper_dims=(3,))
    nothing = silri.evaluate(lambda observation: np.zeros(4), env, 3)
    assert (nothing.success, nothing.episodes, nothing.faults) == (0.0, 3, 0)
    with pytest.raises(ConfigError, match="needs an env for a policy that comes from no run"):
        silri.evaluate(lambda observation: np.zeros(4))
    with pytest.raises(ConfigError, match="takes a policy, a run or a function, got 3"):
        silri.evaluate(3, env)
    with pytest.raises(ConfigError, match="episodes takes 1 or more, got 0"):
        silri.evaluate(lambda observation: np.zeros(4), env, 0)
    with pytest.raises(ConfigError, match="episodes takes a whole number, got '5'"):
        silri.evaluate(lambda observation: np.zeros(4), env, "5")
    assert silri.evaluate(lambda observation: "left", env, 2).faults == 2


def test_a_policy_of_other_observations_is_refused(trained):
    with pytest.raises(ConfigError, match="trained on gym/Point-v0, whose observations or actions"):
        silri.evaluate(trained, "Pendulum-v1", 2)


def test_without_success_there_is_a_mean_return():
    result = silri.evaluate(lambda observation: np.zeros(1), "Pendulum-v1", 2)
    assert (result.success, result.interval) == (None, None)
    assert str(result).startswith("mean return -")


# -- episodes --------------------------------------------------------------------------------------


def test_episodes_are_a_sequence_that_reads_what_is_asked_for(trained, monkeypatch):
    from silri.api import episodes as module

    everything = read_dataset(trained.folder / "episodes")
    read = []
    original = module.read_episode
    monkeypatch.setattr(
        module, "read_episode", lambda folder, index: read.append(index) or original(folder, index)
    )
    episodes = silri.read_episodes(trained.folder)
    assert (len(episodes), read) == (len(everything), [])
    assert_equal(episodes[-1], everything[-1])
    part = episodes[1::2]
    assert (len(part), read) == (len(everything[1::2]), [len(everything) - 1])
    assert_equal(part[0], everything[1])
    assert [episode.episode_id for episode in episodes] == [e.episode_id for e in everything]
    with pytest.raises(IndexError):
        episodes[len(everything)]
    assert repr(episodes) == f"Episodes({len(everything)} in {trained.folder / 'episodes'})"
    with pytest.raises(DataError, match="nowhere holds no dataset"):
        silri.read_episodes("nowhere")
