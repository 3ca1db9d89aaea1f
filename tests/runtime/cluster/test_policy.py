"""What a robot acts with is what the learner has published."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from silri.agents.augment import Augment
from silri.agents.registry import load_agent
from silri.runtime.cluster.parameters import Parameters, pack, write_parameters
from silri.runtime.cluster.paths import SpoolPaths
from silri.runtime.cluster.policy import RobotPolicy
from silri.runtime.keeping.export import encode_parameters
from silri.vision.config import VisionConfig
from silri.vision.sight import Sight
from silri.vision.sighted import Sighted
from tests.fakes.envs.point import PointMass
from tests.fakes.runs import tiny_run

SPEC = PointMass().env_spec


def test_a_robot_sees_what_the_run_adds_to_its_observations(tmp_path):
    """``augment.relative`` makes networks wider: parameters fit no robot that does not know it."""
    config = replace(tiny_run("bc"), augment=Augment(relative=0.05))
    statistics = {
        key: (np.full(array.shape, 0.5, np.float32), np.full(array.shape, 0.2, np.float32))
        for key, array in SPEC.observation.items()
    }
    create = load_agent("bc").agent.create
    agent = create(config.agent, SPEC, 7, config.augment).normalised_by(statistics)
    paths = SpoolPaths(tmp_path)
    policy = RobotPolicy(config, SPEC, paths)
    assert not policy.refresh()

    write_parameters(
        paths.policy,
        pack(Parameters(3, encode_parameters(Sighted(agent, Sight(VisionConfig(), SPEC))))),
    )
    assert policy.refresh()
    assert policy.version == 3
    observation = {
        key: np.linspace(0, 1, array.shape[0], dtype=array.dtype)
        for key, array in SPEC.observation.items()
    }
    policy.noise = 11
    action, _ = policy.propose(observation, episode=0, step=2)
    expected, _ = agent.act(observation, episode=11, step=2, explore=True)
    np.testing.assert_array_equal(action, expected)
