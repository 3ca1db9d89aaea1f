"""Whose reasons a simulated person follows: their eyes, the coach, or chance."""

import numpy as np
import pytest

from silri.intervention.coach import PATIENCE, SURE
from silri.intervention.gate import Gate, GateConfig

COACHED = GateConfig(follows="coach", answer=1.0, hold=(10, 10))


def begun(config, seed=0):
    gate = Gate(config)
    gate.begin_episode(np.random.default_rng(seed))
    return gate


def drives(gate, estimates, *, disagreement=0.0, first=0):
    """Whether the person drives in each of these steps."""
    return [
        gate.decide(disagreement, None, first + step, estimate=estimate)[0]
        for step, estimate in enumerate(estimates)
    ]


def test_who_follows_the_coach_does_not_mind_disagreement():
    rising = [0.1 * step for step in range(50)]
    assert not any(drives(begun(COACHED), rising, disagreement=5.0))


def test_who_follows_the_coach_comes_when_told_and_goes_when_told():
    gate = begun(COACHED)
    came = drives(gate, [3.0, *[2.0] * PATIENCE])
    assert came == [False] * PATIENCE + [True]
    assert drives(gate, [2.0] * 3) == [True] * 3  # nothing is better yet
    assert drives(gate, [3.5] * (SURE + 1)) == [True] * (SURE - 1) + [False] * 2


def test_who_follows_the_coach_lets_go_in_the_end_without_being_told():
    gate = begun(COACHED)
    drives(gate, [3.0, *[2.0] * PATIENCE])
    assert sum(drives(gate, [2.0] * 30)) == 9  # of ten steps the first is behind us


def test_chance_does_not_look():
    gate = begun(GateConfig(follows="chance", probability=0.1))
    some = sum(drives(gate, [0.1 * step for step in range(500)]))
    assert 100 < some < 400


def test_the_coach_survives_a_restart_with_the_gate():
    first, second = begun(COACHED), begun(COACHED)
    for success in (1.0, 1.0, 0.0):
        first.end_episode({"success": success, "length": 20.0, "intervention_steps": 0.0})
    second.restore(first.state())
    assert second.state() == pytest.approx(first.state())
    for gate in (first, second):
        gate.begin_episode(np.random.default_rng(1))
    estimates = [float(step) for step in range(60)]
    assert drives(first, estimates) == drives(second, estimates)
    assert any(drives(begun(COACHED), [0.0] * 30))


@pytest.mark.parametrize(
    ("follows", "words"), [("coach", "while the coach says so"), ("chance", "whatever happens")]
)
def test_the_start_of_a_run_says_whom_the_person_follows(follows, words):
    assert words in GateConfig(follows=follows).describe()
