"""Everything random in learning derives from the run's seed and a count; nothing has a history."""

from __future__ import annotations

import numpy as np
import pytest

from silri.agents.stages import Stage
from silri.data.mixer import Mixer
from silri.data.replay import Replay
from silri.runtime.learn import CHUNK, learn, learn_from_guidance
from tests.data.episodes import make_episode
from tests.fakes.envs.point import PointMass
from tests.fakes.models.agent import FakeAgent, FakeConfig

SPEC = PointMass().env_spec


class Counting(FakeAgent):
    """Remembers the stage and the batch of each update, and that it was updated."""

    def update(self, batch, stage="online"):
        calls.append((stage, batch))
        return self.replace(iterations=self.iterations + 1), {"rows": batch.reward.size}


calls = []


@pytest.fixture(autouse=True)
def _no_calls_yet():
    calls.clear()


def agent(kind=FakeAgent, **fields):
    return kind.create(FakeConfig(batch_size=8, **fields), SPEC, 0)


@pytest.fixture
def mixer():
    mixer = Mixer(Replay(100, SPEC), Replay(100, SPEC), 8, 0.5)
    mixer.add(make_episode(SPEC, 0, 6, is_demo=True))
    mixer.add(make_episode(SPEC, 1, 6, flags=[True, False] * 3))
    return mixer


def from_guidance(mixer, updates, *, seed=0, stop=lambda: False, name="clone"):
    stage = Stage(name, "guidance", updates)
    return list(learn_from_guidance(agent(Counting), mixer, seed, stage, stop))


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


def test_an_iteration_is_of_the_stage_that_it_belongs_to(mixer):
    learn(agent(Counting, utd=3), mixer, 0, 0)
    learn(agent(Counting, utd=3), mixer, 0, 0, "offline")
    assert [stage for stage, _ in calls] == ["online", "offline"]
    assert [batch.action.shape for _, batch in calls] == [(3, 8, 4)] * 2


def test_a_stage_on_guidance_is_whole_chunks_and_can_be_stopped(mixer):
    found = from_guidance(mixer, CHUNK + 1)
    assert [(stage, batch.action.shape) for stage, batch in calls] == [
        ("clone", (CHUNK, 8, 4)),
        ("clone", (CHUNK, 8, 4)),
    ]
    assert [int(each.iterations) for each, _ in found] == [1, 2]  # each goes on from the last
    assert [info for _, info in found] == [{"rows": CHUNK * 8}] * 2
    calls.clear()
    assert from_guidance(mixer, 0) == from_guidance(mixer, None) == calls == []
    assert len(from_guidance(mixer, 5 * CHUNK, stop=lambda: len(calls) == 3)) == 3


def test_a_stage_on_guidance_sees_nothing_else(mixer):
    from_guidance(mixer, 2 * CHUNK, name="pretrain")
    assert [stage for stage, _ in calls] == ["pretrain"] * 2
    assert all(batch.is_intervention.all() for _, batch in calls)


def test_the_rows_of_a_chunk_are_decided_by_seed_and_number(mixer):
    for seed in (3, 3, 4):
        from_guidance(mixer, 2 * CHUNK, seed=seed)
    first, second, again, _, other, _ = (batch.action for _, batch in calls)
    np.testing.assert_array_equal(first, again)
    assert (first != second).any()
    assert (first != other).any()
