"""A run whose task is said in words: a stop and a resumption, its export, a robot's policy."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

import silri
from silri.core.errors import ConfigError, DataError, SpecError
from silri.evaluation.evaluate import mean_actor, sampling_actor
from silri.language.config import LanguageConfig
from silri.runtime.cluster.parameters import Parameters, pack, write_parameters
from silri.runtime.cluster.paths import SpoolPaths
from silri.runtime.cluster.policy import RobotPolicy
from silri.runtime.keeping.export import decode_parameters, encode_parameters, load_policy
from silri.vision.files import FILE
from silri.vision.sight import Sight
from silri.vision.sighted import Sighted
from tests.fakes.envs.point import FakeEnvConfig
from tests.fakes.models.words import MODEL, NAME, OTHER_MODEL, SIZE, ToldPoint
from tests.fakes.runs import assert_equal_runs, interrupt, tiny_run, train

LANGUAGE = LanguageConfig(MODEL)


def configuration(agent="silri", language=LANGUAGE):
    where = {"env_name": NAME, "env": FakeEnvConfig(kind="fake/one-arm")}
    return replace(tiny_run(agent, steps=40), **where, language=language)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("told") / "run"
    return train(configuration(), path), path


def told(words="go left"):
    observation, _ = ToldPoint().reset(seed=3)
    return {**observation, "instruction": np.array(words, "<U24")}


def test_the_store_keeps_words_and_the_replay_sentences(finished):
    run, _ = finished
    stored = run.store.read(0)
    assert stored.observations["instruction"].dtype == "<U24"
    assert stored.task == str(stored.observations["instruction"][0])
    batch = run.mixer.online.sample(np.random.default_rng(0), (2, 4))
    assert batch.observation["instruction"].shape == (2, 4, 1, SIZE)
    assert batch.observation["instruction"].dtype == np.float16
    read = run.sight(told(stored.task))["instruction"]
    guidance = run.mixer.guidance.at(np.arange(len(stored)))
    np.testing.assert_array_equal(guidance.observation["instruction"], [read] * len(stored))


def test_statistics_do_not_squash_a_sentence(finished):
    run, _ = finished
    normaliser = run.agent.normalizer
    np.testing.assert_array_equal(normaliser.mean["instruction"], np.zeros((1, SIZE)))
    np.testing.assert_array_equal(normaliser.std["instruction"], np.ones((1, SIZE)))
    assert not np.array_equal(normaliser.mean["state"], np.zeros(4))


def test_the_policy_decides_by_the_words(finished):
    run, _ = finished
    actions = [run.acting.act_deterministic(told(words)) for words in ("go left", "go right")]
    assert not np.array_equal(*actions)


def test_success_is_counted_by_task(finished):
    run, _ = finished
    record = run.state.evaluations[-1]
    assert record["episodes/left"] + record["episodes/right"] == record["episodes"] == 2
    rates = [
        record[f"success_rate/{task}"] * record[f"episodes/{task}"] for task in ("left", "right")
    ]
    assert sum(rates) == record["successes"]


@pytest.mark.parametrize("steps", [3, 33])
def test_a_run_that_was_stopped_ends_as_the_one_that_was_not(finished, tmp_path, steps):
    interrupt(configuration(), tmp_path / "run", steps)
    resumed = train(configuration(), tmp_path / "run")
    assert_equal_runs(resumed, tmp_path / "run", *finished)


def test_an_exported_policy_reads_the_same(finished):
    run, path = finished
    assert (path / "policy" / FILE).is_file()
    loaded, _, spec = load_policy(path / "policy")
    assert spec.observation == dict(ToldPoint().env_spec.observation)
    for act in (mean_actor, sampling_actor):
        mine, theirs = (act(acting)(told(), 0, 2) for acting in (run.acting, loaded))
        np.testing.assert_array_equal(mine, theirs)


def test_silri_load_takes_words(finished):
    run, path = finished
    policy = silri.load(path)
    np.testing.assert_array_equal(policy(told()), run.acting.act_deterministic(told()))
    plain = {**told(), "instruction": "go left"}
    np.testing.assert_array_equal(policy(plain), policy(told()))
    batch = {key: np.stack([value, value]) for key, value in told().items()}
    assert policy(batch).shape == (2, 4)
    for words, message in (
        ("", "is the empty text ''"),
        ("on and on and on and on and on", "has 30 characters, 'on and .* takes up to 24"),
        (3.0, r"is .*3\.0.*; it takes a text"),
    ):
        with pytest.raises(SpecError, match=f"instruction of fake/one-arm' {message}"):
            policy({**told(), "instruction": words})


def test_a_policy_of_one_language_model_refuses_another(finished, tmp_path):
    run, path = finished
    other = configuration(language=LanguageConfig(OTHER_MODEL))
    folder = shutil.copytree(path, tmp_path / "run")
    with pytest.raises(ConfigError, match="language model 'fake' .* here is 'other'"):
        train(other, folder)
    sight = Sight(other.vision, ToldPoint().env_spec, other.language)
    with pytest.raises(ConfigError, match="parameters was fitted for the language model 'fake'"):
        decode_parameters(encode_parameters(run.acting), Sighted(run.agent, sight), "parameters")
    (folder / "policy" / FILE).unlink()
    with pytest.raises(DataError, match=r"sight\.safetensors is missing"):
        load_policy(folder / "policy")


def test_a_robot_of_a_cluster_reads_as_the_learner_does(finished, tmp_path):
    run, _ = finished
    config, paths = configuration(), SpoolPaths(tmp_path)
    policy = RobotPolicy(config, ToldPoint().env_spec, paths)
    policy.warm_up()
    write_parameters(paths.policy, pack(Parameters(7, encode_parameters(run.acting))))
    assert policy.refresh()
    policy.noise = 5
    action, _ = policy.propose(told(), episode=0, step=1)
    expected, _ = run.acting.act(told(), episode=5, step=1, explore=True)
    np.testing.assert_array_equal(action, expected)


@pytest.mark.parametrize(
    "agent",
    [
        *("bc", "hil_serl"),
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("hg_dagger", "conrft", "silri_groups")),
    ],
)
def test_every_agent_reads(tmp_path, agent):
    run = train(configuration(agent), tmp_path / "run")
    assert run.state.env_steps >= 40 or not run.config.agent.learns_online
    actions = [run.acting.act_deterministic(told(words)) for words in ("go left", "go right")]
    assert not np.array_equal(*actions)
