"""The coach: advice from what the robot says, each with its number."""

import math

import pytest

from silri.intervention.coach import (
    ATTEMPTS,
    ENOUGH,
    OVERDUE,
    PATIENCE,
    SURE,
    WIDE,
    Coach,
    Kind,
)


def told(coach, estimates, *, driven=False, first=0):
    """What the coach says in each of these steps."""
    return [
        coach.advise(first + step, estimate, driven=driven)
        for step, estimate in enumerate(estimates)
    ]


def kinds(advice):
    return [None if one is None else one.kind for one in advice]


def did_alone(coach, times, *, length=30):
    for _ in range(times):
        coach.end_episode(success=True, length=length, human_steps=0)
        coach.begin_episode()


def test_nothing_is_said_while_the_estimate_rises():
    assert kinds(told(Coach(), [0.1 * step for step in range(60)])) == [None] * 60


def test_a_falling_estimate_calls_for_the_person_after_the_patience_and_says_from_where():
    advice = told(Coach(), [3.0, *[2.0] * PATIENCE])
    assert kinds(advice) == [None] * PATIENCE + [Kind.TAKE_OVER]
    assert str(PATIENCE) in advice[-1].why
    assert "2.00" in advice[-1].why
    assert "3.00" in advice[-1].why


def test_an_attempt_that_takes_longer_than_successes_do_calls_for_the_person():
    coach = Coach()
    did_alone(coach, 1, length=20)
    rising = [0.1 * step for step in range(40)]
    assert kinds(told(coach, rising)).index(Kind.TAKE_OVER) == OVERDUE * 20


def test_the_person_may_let_go_once_the_robot_is_further_than_it_ever_came():
    coach = Coach()
    told(coach, [3.0, *[2.0] * PATIENCE])
    assert kinds(told(coach, [2.5, 2.9, 3.0], driven=True)) == [None] * 3  # not further
    assert kinds(told(coach, [3.1] * SURE, driven=True)) == [None] * (SURE - 1) + [Kind.LET_GO]


def test_who_drove_from_the_beginning_is_not_compared_with_anything():
    assert kinds(told(Coach(), [5.0] * 10, driven=True)) == [None] * 10


def test_a_person_who_differs_from_themselves_is_told_while_they_drive():
    coach = Coach()
    said = coach.advise(0, 1.0, driven=True, spread=WIDE + 0.05)
    assert said is not None
    assert said.kind is Kind.DISAGREE
    assert f"{WIDE + 0.05:.2f}" in said.why
    assert coach.advise(1, 1.0, driven=True, spread=WIDE - 0.01) is None
    assert coach.advise(2, 1.0, driven=False, spread=1.0) is None


def test_letting_go_needs_steps_in_a_row():
    coach = Coach()
    told(coach, [3.0])
    advice = told(coach, [3.1, 2.0] * SURE, driven=True)
    assert kinds(advice) == [None] * (2 * SURE)


def test_after_a_person_the_robot_has_its_patience_again():
    coach = Coach()
    told(coach, [3.0, *[2.0] * PATIENCE])
    told(coach, [2.0], driven=True)
    further = told(coach, [3.1, *[3.0] * PATIENCE])
    assert kinds(further) == [None] * PATIENCE + [Kind.TAKE_OVER]


def test_help_that_does_not_help_is_over_until_the_robot_gets_on():
    coach = Coach()
    told(coach, [3.0])
    told(coach, [2.0], driven=True)
    last = told(coach, [2.0] * 3)
    assert kinds(last) == [Kind.START_OVER] * 3
    assert "2.00, it was 3.00" in last[0].why
    assert kinds(told(coach, [3.1, *[3.0] * PATIENCE])) == [None] * PATIENCE + [Kind.TAKE_OVER]


def test_a_robot_that_does_it_alone_needs_nobody_until_it_fails():
    coach = Coach()
    did_alone(coach, ENOUGH)
    assert kinds(told(coach, [1.0] * 100))[-1] is Kind.STOP
    for _ in range(ATTEMPTS - ENOUGH + 1):
        coach.end_episode(success=False, length=100, human_steps=0)
    coach.begin_episode()
    assert Kind.STOP not in kinds(told(coach, [1.0] * 5))


def test_a_success_with_help_is_not_the_robots_own():
    coach = Coach()
    did_alone(coach, ENOUGH - 1)
    coach.end_episode(success=True, length=30, human_steps=1)
    coach.begin_episode()
    assert kinds(told(coach, [1.0])) == [None]


def test_without_an_estimate_only_time_and_outcomes_count():
    coach = Coach()
    assert kinds(told(coach, [math.nan] * 50)) == [None] * 50
    did_alone(coach, 1, length=20)
    assert kinds(told(coach, [math.nan] * 50))[-1] is Kind.TAKE_OVER
    assert kinds(told(coach, [math.nan] * 50, driven=True)) == [None] * 50


def test_a_restored_coach_goes_on_as_the_first():
    first, second = Coach(), Coach()
    did_alone(first, 4, length=20)
    first.end_episode(success=False, length=80, human_steps=3)
    second.restore({"success": 0.3, **first.state()})  # beside somebody else's
    assert second.state() == pytest.approx(first.state())
    for coach in (first, second):
        did_alone(coach, ENOUGH)
    assert told(first, [2.0] * 40) == told(second, [2.0] * 40)
