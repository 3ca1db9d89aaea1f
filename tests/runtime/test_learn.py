"""Everything random in learning derives from the run's seed and a count; nothing has a history."""

from __future__ import annotations

import numpy as np
import pytest

from silri.data.mixer import Mixer
from silri.data.replay import Replay
from silri.runtime.learn import PRETRAIN_CHUNK, learn, learn_guidance, pretrain
from tests.data.episodes import make_episode
from tests.fakes.agent import FakeAgent, FakeConfig
from tests.fakes.point import PointMass

SPEC = PointMass().env_spec


class Bursting(FakeAgent):
    """Owes 4 updates for every 4th intervention step."""

    def guidance_updates_owed(self, before, after):
        return (after // 4 - before // 4) * 4

    def update_guidance(self, batch):
        return self.replace(weights=self._pulled(batch)), {"rows": np.float32(batch.action.size)}


class BurstConfig(FakeConfig):
    burst = 4


def agent(kind=FakeAgent, config=None, **fields):
    return kind.create(config or FakeConfig(batch_size=8, **fields), SPEC, None, 0)


@pytest.fixture
def mixer():
    mixer = Mixer(Replay(100, SPEC), Replay(100, SPEC), 8, 0.5)
    mixer.add(make_episode(SPEC, 0, 6, is_demo=True))
    mixer.add(make_episode(SPEC, 1, 6, flags=[True, False] * 3))
    return mixer


def test_an_iteration_is_decided_by_seed_and_number(mixer):
    start = agent()
    one, info, mix = learn(start, mixer, 3, 17)
    same, _, _ = learn(start, mixer, 3, 17)
    np.testing.assert_array_equal(one.weights, same.weights)
    for seed, iteration in ((3, 18), (4, 17)):
        other, _, _ = learn(start, mixer, seed, iteration)
        assert (other.weights != one.weights).any()
    assert int(one.iterations) == 1
    assert mix["mix/online"] == 0.5
    assert info


def test_pretraining_is_whole_chunks_and_can_be_stopped(mixer):
    class Counting(FakeAgent):
        def pretrain(self, batch):
            calls.append(batch.action.shape)
            return self, {}

    calls = []
    pretrain(agent(Counting, pretrain_steps=PRETRAIN_CHUNK + 1), mixer, 0)
    assert calls == [(PRETRAIN_CHUNK, 8, 4)] * 2
    calls.clear()
    pretrain(agent(Counting, pretrain_steps=0), mixer, 0)
    assert calls == []
    pretrain(agent(Counting, pretrain_steps=500), mixer, 0, stop=lambda: len(calls) == 3)
    assert len(calls) == 3


def test_pretraining_sees_the_guidance_only(mixer):
    class Looking(FakeAgent):
        def pretrain(self, batch):
            assert batch.is_intervention.all()
            return self, {"looked": 1.0}

    _, info = pretrain(agent(Looking, pretrain_steps=100), mixer, 0)
    assert info == {"looked": 1.0}


@pytest.mark.parametrize(
    ("before", "after", "bursts"), [(0, 3, 0), (0, 4, 1), (3, 4, 1), (4, 7, 0), (2, 13, 3)]
)
def test_bursts_are_as_long_as_they_are_many(mixer, before, after, bursts):
    class Counting(Bursting):
        def update_guidance(self, batch):
            calls.append(batch.action.shape[:2])
            return self, {}

    calls = []
    learn_guidance(agent(Counting, BurstConfig(batch_size=8)), mixer, 0, before, after)
    assert calls == [(4, 8)] * bursts  # all of one shape: compiled once


def test_an_agent_without_bursts_owes_nothing(mixer):
    start = agent()
    after, info = learn_guidance(start, mixer, 0, 0, 100)
    assert after is start
    assert info == {}


def test_bursts_of_one_episode_see_different_rows(mixer):
    start = agent(Bursting, BurstConfig(batch_size=8))
    once, _ = learn_guidance(start, mixer, 0, 0, 4)
    twice, _ = learn_guidance(start, mixer, 0, 0, 8)
    again, _ = learn_guidance(once, mixer, 0, 0, 4)
    assert (twice.weights != again.weights).any()
