"""Who drives: every transition of the table, and what is executed while control changes hands."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from silri.core.commands import Command
from silri.core.errors import ConfigError, NonFiniteError, SpecError
from silri.core.protocols import OperatorInput
from silri.core.specs import ActionSpec
from silri.intervention.arbiter import SUCCESSORS, Arbiter, Decision, Phase, PhaseError

SPEC = ActionSpec(3, (2,))
POLICY = np.array([0.2, -0.4, -1.0], np.float32)
HUMAN = np.array([1.0, 0.8, 1.0], np.float32)
NOBODY = OperatorInput(engaged=False)
SOMEBODY = OperatorInput(engaged=True, action=HUMAN)


def begun(blend_steps: int = 0, spec: ActionSpec = SPEC) -> Arbiter:
    arbiter = Arbiter(spec, blend_steps)
    arbiter.begin_episode()
    return arbiter


def drive(arbiter: Arbiter, engaged: str) -> list[Decision]:
    """One decision per letter: ``h`` engaged, ``.`` not."""
    return [arbiter.decide(POLICY, SOMEBODY if at == "h" else NOBODY) for at in engaged]


def test_the_table_knows_every_phase_and_never_stays() -> None:
    assert set(SUCCESSORS) == set(Phase)
    assert all(phase not in after for phase, after in SUCCESSORS.items())


@pytest.mark.parametrize(("phase", "after"), list(itertools.permutations(Phase, 2)))
def test_every_transition(phase: Phase, after: Phase) -> None:
    arbiter = Arbiter(SPEC)
    arbiter._phase = phase
    if after in SUCCESSORS[phase]:
        arbiter._enter(after)
        assert arbiter.phase is after
    else:
        with pytest.raises(PhaseError, match=f"{phase.value} cannot be followed by {after.value}"):
            arbiter._enter(after)
        assert arbiter.phase is phase


def test_the_illegal_ones() -> None:
    """Nobody drives before an episode has begun."""
    illegal = {
        (phase, after)
        for phase, after in itertools.permutations(Phase, 2)
        if after not in SUCCESSORS[phase]
    }
    assert illegal == {(Phase.RESETTING, Phase.HUMAN)}


def test_nothing_is_decided_before_an_episode() -> None:
    with pytest.raises(PhaseError, match=r"decide\(\) before begin_episode\(\)"):
        Arbiter(SPEC).decide(POLICY, NOBODY)
    ended = begun()
    ended.end_episode()
    with pytest.raises(PhaseError):
        ended.decide(POLICY, SOMEBODY)


def test_the_policy_drives() -> None:
    decision = begun().decide(np.array([0.2, -3.0, 0.1]), NOBODY)
    np.testing.assert_array_equal(decision.executed, np.array([0.2, -1.0, 1.0], np.float32))
    assert decision.executed.dtype == np.float32
    assert np.isnan(decision.human_action).all()
    assert decision.human_weight == 0.0
    assert not decision.is_intervention
    assert decision.phase is Phase.AUTONOMOUS


def test_a_person_drives() -> None:
    asked = OperatorInput(engaged=True, action=np.array([2.0, 0.5, 0.3]))
    decision = begun().decide(POLICY, asked)
    np.testing.assert_array_equal(decision.executed, [1.0, 0.5, 1.0])
    np.testing.assert_array_equal(decision.human_action, [1.0, 0.5, 1.0])
    assert decision.human_weight == 1.0
    assert decision.is_intervention
    assert decision.phase is Phase.HUMAN


@pytest.mark.parametrize("blend_steps", [0, 1, 2, 5])
def test_blending(blend_steps: int) -> None:
    up = [(k + 1) / (blend_steps + 1) for k in range(blend_steps)]
    decisions = drive(begun(blend_steps), "." + "h" * (blend_steps + 2) + "." * (blend_steps + 2))
    weights = [0.0, *up, 1.0, 1.0, *reversed(up), 0.0, 0.0]
    flagged = [0.0, *up, 1.0, 1.0] + [0.0] * (blend_steps + 2)
    for decision, weight, flag in zip(decisions, weights, flagged, strict=True):
        expected = weight * HUMAN[:2] + (1 - weight) * POLICY[:2]
        np.testing.assert_allclose(decision.executed[:2], expected, atol=1e-6)
        assert decision.human_weight == pytest.approx(flag)
        assert decision.is_intervention == (flag > 0)
        # Grippers switch at once, both ways; half a grip is not a class.
        assert decision.executed[2] == (1.0 if flag > 0 else -1.0)
        assert np.isnan(decision.human_action).all() == (flag == 0)


def test_no_jump_however_short_the_takeover() -> None:
    decisions = drive(begun(3), ".h.h.hh.hhhhhhh.h......")
    motion = np.array([decision.executed[0] for decision in decisions])
    assert np.abs(np.diff(motion)).max() <= (HUMAN[0] - POLICY[0]) / 4 + 1e-6
    assert motion[-1] == POLICY[0]


def test_the_release_ramps_the_last_motion_and_not_the_current_policys() -> None:
    arbiter = begun(1)
    drive(arbiter, "hh")
    decision = arbiter.decide(np.array([-1.0, 0.0, 1.0]), NOBODY)
    np.testing.assert_allclose(decision.executed, [0.0, 0.4, 1.0], atol=1e-6)


def test_an_episode_forgets_the_last_one() -> None:
    arbiter = begun(4)
    drive(arbiter, "hhhhhh")
    arbiter.begin_episode()
    np.testing.assert_array_equal(arbiter.decide(POLICY, NOBODY).executed, POLICY)


def test_without_grippers_and_with_two() -> None:
    assert begun(1, ActionSpec(2)).decide(np.ones(2), NOBODY).executed.shape == (2,)
    arbiter = begun(1, ActionSpec(4, (1, 3)))
    asked = OperatorInput(engaged=True, action=np.array([1.0, 1.0, 0.0, -1.0]))
    decision = arbiter.decide(np.array([0.0, -1.0, 0.0, 1.0]), asked)
    np.testing.assert_allclose(decision.executed, [0.5, 1.0, 0.0, -1.0])


# Pauses and commands


def test_paused_is_neutral_and_keeps_the_grip() -> None:
    arbiter = begun()
    drive(arbiter, "h")  # closes
    decision = arbiter.decide(POLICY, OperatorInput(engaged=True, action=HUMAN, pause=True))
    np.testing.assert_array_equal(decision.executed, [0.0, 0.0, 1.0])
    assert decision.phase is Phase.PAUSED
    assert not decision.is_intervention
    assert decision.human_weight == 0.0
    assert arbiter.decide(POLICY, NOBODY).phase is Phase.AUTONOMOUS


def test_whoever_drives_after_a_pause_starts_from_standstill() -> None:
    """Nothing of the motion before the pause is blended in: the world may have changed."""
    for after, weight in ((NOBODY, 0.0), (SOMEBODY, 0.5)):
        arbiter = begun(blend_steps=1)
        drive(arbiter, "hh")
        arbiter.decide(POLICY, OperatorInput(engaged=False, pause=True))
        decision = arbiter.decide(POLICY, after)
        assert decision.human_weight == weight
        wanted = weight * HUMAN + (1 - weight) * POLICY
        np.testing.assert_allclose(decision.executed[:2], wanted[:2], rtol=1e-6)


def test_a_pause_before_the_first_step_is_open() -> None:
    decision = begun().decide(POLICY, OperatorInput(engaged=False, pause=True))
    np.testing.assert_array_equal(decision.executed, [0.0, 0.0, -1.0])


def test_a_commanded_pause_holds_until_resumed_and_over_episodes() -> None:
    arbiter = begun()
    arbiter.obey(Command.PAUSE)
    assert arbiter.phase is Phase.AUTONOMOUS  # until the next decision
    assert arbiter.holds(SOMEBODY)
    assert [at.phase for at in drive(arbiter, ".h.")] == [Phase.PAUSED] * 3
    arbiter.begin_episode()
    assert [at.phase for at in drive(arbiter, ".")] == [Phase.PAUSED]
    arbiter.obey(Command.RESUME)
    assert not arbiter.holds(NOBODY)
    assert [at.phase for at in drive(arbiter, ".h")] == [Phase.AUTONOMOUS, Phase.HUMAN]


def test_who_takes_control_without_a_key_drives_until_the_release() -> None:
    arbiter = begun()
    arbiter.obey(Command.TAKE)
    moved = arbiter.decide(POLICY, OperatorInput(engaged=False, action=HUMAN))
    np.testing.assert_array_equal(moved.executed, HUMAN)
    assert (moved.phase, moved.is_intervention) == (Phase.HUMAN, True)
    still = arbiter.decide(POLICY, NOBODY)  # no action: stand still, hold what is held
    np.testing.assert_array_equal(still.executed, [0.0, 0.0, 1.0])
    np.testing.assert_array_equal(still.human_action, still.executed)
    arbiter.obey(Command.RELEASE)
    assert [at.phase for at in drive(arbiter, ".h")] == [Phase.AUTONOMOUS, Phase.HUMAN]


def test_control_is_not_taken_over_into_the_next_episode() -> None:
    arbiter = begun()
    arbiter.obey(Command.TAKE)
    arbiter.begin_episode()
    assert arbiter.decide(POLICY, NOBODY).phase is Phase.AUTONOMOUS


@pytest.mark.parametrize("command", [Command.SUCCESS, Command.RESET, Command.STOP])
def test_what_does_not_say_who_drives_is_not_for_the_arbiter(command: Command) -> None:
    with pytest.raises(PhaseError, match=f"'{command.value}' is no command to the arbiter"):
        begun().obey(command)


# Bad input


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_never_executed(bad: float) -> None:
    arbiter = begun()
    with pytest.raises(NonFiniteError, match="'policy_action' is not finite"):
        arbiter.decide(np.array([0.0, bad, 1.0]), NOBODY)
    with pytest.raises(NonFiniteError, match="'human_action' is not finite"):
        arbiter.decide(POLICY, OperatorInput(engaged=True, action=np.array([bad, 0.0, 1.0])))
    assert arbiter.phase is Phase.AUTONOMOUS  # refused before anything changed


def test_wrong_shapes() -> None:
    with pytest.raises(SpecError, match=r"'policy_action' has shape \(2,\)"):
        begun().decide(np.zeros(2), NOBODY)
    with pytest.raises(SpecError, match=r"'human_action' has shape \(4,\)"):
        begun().decide(POLICY, OperatorInput(engaged=True, action=np.zeros(4)))
    with pytest.raises(SpecError, match="engaged and has no action"):
        begun().decide(POLICY, OperatorInput(engaged=True))


def test_negative_blend() -> None:
    with pytest.raises(ConfigError, match="blend_steps = -1"):
        Arbiter(SPEC, -1)


def test_arguments_are_left_alone() -> None:
    policy, human = POLICY.copy(), np.array([2.0, 0.5, 0.3], np.float32)
    kept = human.copy()
    arbiter = begun(1)
    for _ in range(3):
        arbiter.decide(policy, OperatorInput(engaged=True, action=human))
    np.testing.assert_array_equal(policy, POLICY)
    np.testing.assert_array_equal(human, kept)
