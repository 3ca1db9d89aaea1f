"""The definitions, by numbers computed by hand or published."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silri.core.errors import UsageError
from silri.evaluation.statistics import (
    final_success,
    scheduled,
    steps_to_threshold,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("successes", "episodes", "low", "high"),
    [
        (45, 50, 0.7864, 0.9565),
        (50, 50, 0.9287, 1.0),
        (0, 50, 0.0, 0.0713),
        (15, 20, 0.5313, 0.8881),
    ],
)
def test_wilson_against_published_values(successes, episodes, low, high):
    assert wilson_interval(successes, episodes) == pytest.approx((low, high), abs=1e-4)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_an_interval_around_the_share_and_symmetric(pair):
    successes, episodes = pair
    low, high = wilson_interval(successes, episodes)
    assert 0.0 <= low <= successes / episodes <= high <= 1.0
    assert low < high
    mirrored = wilson_interval(episodes - successes, episodes)
    assert mirrored == pytest.approx((1 - high, 1 - low))


def test_wilson_narrows_with_episodes_and_widens_with_confidence():
    def width(*arguments):
        low, high = wilson_interval(*arguments)
        return high - low

    assert width(90, 100) < width(45, 50) < width(45, 50, 0.99)


def test_wilson_knows_nothing_without_episodes():
    assert wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [((3, 2), "3 successes in 2"), ((-1, 2), "-1"), ((1, 2, 1.0), "confidence")],
)
def test_wilson_refuses_what_cannot_be(arguments, names):
    with pytest.raises(UsageError, match=names):
        wilson_interval(*arguments)


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ([0.5, 0.9, 0.9, 0.2], 2000),
        ([0.5, 0.9, 0.88, 0.94, 0.92], 4000),  # one lucky evaluation does not count
        ([0.9, 0.9], 1000),
        ([0.5, 0.6, 0.95], None),  # reached, never confirmed
        ([0.5, 0.6], None),
        ([1.0], None),
        ([], None),
    ],
)
def test_steps_to_threshold_is_the_first_of_two_consecutive(rates, expected):
    evaluations = [(1000 * (index + 1), rate) for index, rate in enumerate(rates)]
    assert steps_to_threshold(evaluations) == expected


def test_final_success_is_the_mean_of_the_last_three():
    evaluations = [(1000, 0.0), (2000, 0.8), (3000, 0.9), (4000, 1.0)]
    assert final_success(evaluations) == pytest.approx(0.9)
    assert final_success(evaluations[:2]) == pytest.approx(0.4)
    assert final_success([]) is None


@pytest.mark.parametrize(
    ("steps", "kept"),
    [
        ([500, 1000, 1500, 1540], [0, 1, 2]),  # the closing one of a run
        ([500, 1000, 1040, 1500, 2000, 2093], [0, 1, 3, 4]),  # and of one that went on
        ([500, 1000, 1500, 1750], [0, 1, 2, 3]),  # a budget between two of the schedule
        ([500, 1000, 1317, 1500, 2000], [0, 1, 3, 4]),  # one like that, raised later
        ([1000, 1030], [0]),
        ([300], [0]),
        ([0], [0]),  # no environment steps
        ([], []),
    ],
)
def test_the_closing_evaluation_counts_once(steps, kept):
    assert scheduled([(step, 0.5) for step in steps]) == kept
