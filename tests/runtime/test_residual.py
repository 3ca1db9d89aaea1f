"""A run that corrects the policy of an earlier one."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

import silri
from silri.agents.residual import ResidualConfig
from silri.configs.serialize import from_json, from_versioned, to_json
from silri.core.errors import ConfigError, DataError
from silri.core.events import Notice
from silri.runtime.cluster.parameters import Parameters, pack, write_parameters
from silri.runtime.cluster.paths import SpoolPaths
from silri.runtime.cluster.policy import RobotPolicy
from silri.runtime.keeping.export import DESCRIPTION, encode_parameters, load_policy
from silri.runtime.session import Interrupted
from silri.runtime.starting.opening import open_env_and_operator
from silri.vision.config import VisionConfig
from tests.fakes.envs.cameras import ENCODER, NAME, OTHER_ENCODER, SeenPoint
from tests.fakes.envs.point import FakeEnvConfig, PointMass
from tests.fakes.runs import Recorder, StopAfter, fingerprint, prepare, tiny_run, train

SPEC = PointMass().env_spec


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    path = tmp_path_factory.mktemp("before") / "run"
    train(tiny_run("bc", steps=0), path)
    return path


def later(path, agent="silri", scale=2.0, **fields):
    return tiny_run(agent, residual=ResidualConfig(str(path), scale), **fields)


def observations(spec=SPEC, rows=3):
    rng = np.random.default_rng(0)
    return {
        key: rng.uniform(-1, 1, (rows, *array.shape)).astype(array.dtype)
        for key, array in spec.observation.items()
    }


def test_a_run_begins_as_its_base_and_is_whole_without_it(before, tmp_path):
    source = shutil.copytree(before / "policy", tmp_path / "copy")  # an export alone will do
    base = silri.load(source)
    recorder = Recorder()
    config = later(source, "hil_serl")  # it has no stage before the first episode
    with pytest.raises(Interrupted):
        train(config, tmp_path / "run", subscribers=[recorder], stop=StopAfter(1))
    said = [event.text for event in recorder.of(Notice)]
    assert any(f"the policy begins as that of {source}, and corrects it" in text for text in said)
    begun = silri.load(tmp_path / "run")
    np.testing.assert_array_equal(begun(observations()), base(observations()))
    whole = train(config, tmp_path / "whole")
    shutil.rmtree(source)
    resumed = train(config, tmp_path / "run")
    assert fingerprint(resumed) == fingerprint(whole)
    exported = silri.load(shutil.copytree(tmp_path / "run" / "policy", tmp_path / "export"))
    mine = resumed.acting.act_deterministic(observations())
    np.testing.assert_array_equal(exported.acting.act_deterministic(observations()), mine)
    assert (mine != base(observations())).any()


def test_a_small_scale_says_what_it_does_not_reach(before, tmp_path):
    recorder = Recorder()
    train(later(before, "hg_dagger", 0.01, steps=5), tmp_path / "run", subscribers=[recorder])
    (said,) = [e.text for e in recorder.of(Notice) if "corrects it" in e.text]
    assert "residual.scale 0.01: there it learns the nearest that it can do" in said


def test_a_correction_is_corrected_in_turn(before, tmp_path):
    first = train(later(before, "hil_serl"), tmp_path / "first")
    train(later(tmp_path / "first", "hil_serl", steps=5), tmp_path / "second")
    loaded, _, _ = load_policy(tmp_path / "second" / "policy")
    below = loaded.agent.base.agent
    np.testing.assert_array_equal(
        below.act_deterministic(observations()), first.acting.act_deterministic(observations())
    )


def test_a_robot_of_a_cluster_needs_no_copy_of_the_base(before, tmp_path):
    run = train(later(before), tmp_path / "run")
    config, paths = later(tmp_path / "gone"), SpoolPaths(tmp_path)
    policy = RobotPolicy(config, SPEC, paths)
    policy.warm_up()  # before it knows what is corrected
    one = {key: value[0] for key, value in observations().items()}
    for version in (7, 8):
        write_parameters(paths.policy, pack(Parameters(version, encode_parameters(run.acting))))
        assert policy.refresh()
        policy.noise = 5
        action, _ = policy.propose(one, episode=0, step=1)
        expected, _ = run.acting.act(one, episode=5, step=1, explore=True)
        np.testing.assert_array_equal(action, expected)


def test_what_does_not_fit_is_refused_before_anything_is_written(before, tmp_path):
    with pytest.raises(DataError, match="none/policy holds no exported policy"):
        open_env_and_operator(later(tmp_path / "none"))
    open_env_and_operator(later(tmp_path / "none"), learns=False)  # a robot has no copy of it
    with pytest.raises(ConfigError, match="trained on .* whose observations or actions differ"):
        open_env_and_operator(later(before, env="fake/two-arms"))
    with pytest.raises(ConfigError, match="begins as a policy or corrects one; give one"):
        later(before, start_from="elsewhere")


def test_an_export_without_its_base_is_damaged(before, tmp_path):
    train(later(before, "hil_serl", steps=2), tmp_path / "run")
    path = tmp_path / "run" / "policy" / DESCRIPTION
    described = json.loads(path.read_text())
    del described["base"]
    path.write_text(json.dumps(described))
    with pytest.raises(DataError, match="has no 'base', the policy that is corrected"):
        load_policy(path.parent)


def test_eyes_are_those_of_the_base(tmp_path):
    vision = VisionConfig(encoder=ENCODER, size=8)
    where = {"env_name": NAME, "env": FakeEnvConfig(kind="fake/one-arm")}
    seen = train(replace(tiny_run("bc", steps=0), **where, vision=vision), tmp_path / "seen")
    config = replace(later(tmp_path / "seen"), **where, vision=vision, seed=5)
    run = train(config, tmp_path / "run")
    observation = SeenPoint().reset(seed=3)[0]
    for key, features in seen.sight(observation).items():
        np.testing.assert_array_equal(run.sight(observation)[key], features)
    # Killed before its first checkpoint, it begins again with these eyes.
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    begun = prepare(config, tmp_path / "run")
    assert not begun._load()
    for key, features in seen.sight(observation).items():
        np.testing.assert_array_equal(begun.sight(observation)[key], features)
    begun.store.close()
    for other, message in (
        (replace(vision, encoder=OTHER_ENCODER), "'fake' .* here is 'other'"),
        (replace(vision, size=4), r"residual\.base .* sees .*\(8,\).* this run sees .*\(4,\)"),
    ):
        with pytest.raises(ConfigError, match=message):
            open_env_and_operator(replace(config, vision=other))


def test_a_configuration_of_before_corrects_nothing(before):
    config = later(before, scale=0.5)
    assert from_json(to_json(config)) == config
    data = to_json(tiny_run())
    del data["residual"]
    assert from_versioned(data, 10, "here") == tiny_run()
