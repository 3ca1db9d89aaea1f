from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from silri.core.errors import ConfigError
from silri.core.seeding import Stream, derive_seed
from silri.intervention.operators import OperatorContext
from silri.intervention.presets import NOVICE
from silri.intervention.registry import create_operator
from silri.runtime.acting.demos import ATTEMPTS_PER_DEMO, record_demonstrations
from tests.data.episodes import assert_equal
from tests.fakes.envs.point import PointMass

# Fails now and then: the fake gives eight decisions, and mistakes take three or more.
CLUMSY = replace(NOVICE, skill=replace(NOVICE.skill, mistake=0.4))


def record(count, config=CLUMSY, *, known=(), first=0, stop=lambda: False, env=None):
    env = env or PointMass()
    operator = create_operator(config, OperatorContext(env.env_spec.action, "novice", 8))
    return record_demonstrations(
        env,
        operator,
        "novice",
        count=count,
        seed=0,
        known_seeds=set(known),
        first_id=first,
        stop=stop,
    )


def test_only_successes_are_kept_and_the_person_drives_all_the_way():
    env = PointMass()
    episodes = list(record(4, env=env))
    assert [episode.episode_id for episode in episodes] == [0, 1, 2, 3]
    assert len(env.resets) > 4  # some attempts failed
    for episode in episodes:
        assert episode.success
        assert episode.is_demo
        assert episode.operator == "novice"
        assert episode.frames["is_intervention"].all()
        assert (episode.frames["human_weight"] == 1.0).all()  # no blending with a policy
        np.testing.assert_array_equal(episode.frames["action"], episode.frames["human_action"])


def test_layouts_are_those_of_demonstrations():
    seeds = [episode.seed for episode in record(3)]
    attempts = [derive_seed(0, Stream.DEMO_LAYOUT, i) for i in range(30)]
    positions = [attempts.index(seed) for seed in seeds]
    assert positions == sorted(positions)
    assert not set(seeds) & {derive_seed(0, Stream.TRAIN_LAYOUT, i) for i in range(100)}


@pytest.mark.parametrize("had", [0, 1, 3])
def test_interrupted_recording_goes_on_as_if_it_had_not_been(had):
    whole = list(record(4))
    rest = list(record(4, known={e.seed for e in whole[:had]}, first=had))
    assert len(rest) == 4 - had
    for one, other in zip(whole[had:], rest, strict=True):
        assert_equal(one, other)


def test_a_stop_ends_recording_without_half_an_episode():
    asked = iter(range(1000))
    episodes = list(record(4, stop=lambda: next(asked) > 14))
    assert 0 < len(episodes) < 4
    for stopped, one in zip(episodes, record(4), strict=False):
        assert_equal(one, stopped)


def test_an_operator_who_cannot_do_it_is_an_error_with_remedies():
    class Hopeless(PointMass):
        def _distance(self):
            return np.ones(self.arms)

    env = Hopeless()
    with pytest.raises(ConfigError, match=r"in 0 of 100 attempts on fake/one-arm.*reset_range"):
        list(record(2, env=env))
    assert len(env.resets) == 2 * ATTEMPTS_PER_DEMO


def test_none_are_wanted():
    env = PointMass()
    assert list(record(0, env=env)) == []
    assert env.resets == []
