"""Simulated people: the same seed is the same person; skill and gate do what their numbers say."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from silri.core.errors import ConfigError, UnknownNameError
from silri.core.protocols import Operator, OperatorView, Privileged
from silri.core.specs import ActionSpec
from silri.intervention.gate import AlwaysGate, Gate, GateConfig
from silri.intervention.operators import (
    NoOperator,
    OperatorContext,
    SimulatedConfig,
    SimulatedOperator,
)
from silri.intervention.registry import (
    OPERATORS,
    create_operator,
    describe_operator,
    introduce_operator,
)
from silri.intervention.skill import Skill, SkillConfig

SPEC = ActionSpec(4, (3,))
# The simulated people; devices and the page have tests of their own.
SIMULATED = [e.name for e in OPERATORS if e.target.startswith("silri.intervention.operators:")]
NAMES = [name for name in SIMULATED if name != "none"]
OFF = np.zeros(4, np.float32)


def view(
    step: int = 0,
    *,
    distance: float = 0.0,
    expert: Sequence[float] = (0.2, -0.3, 0.4, 1.0),
    policy: np.ndarray = OFF,
    privileged: bool = True,
) -> OperatorView:
    known = Privileged(
        expert_action=np.asarray(expert, np.float32),
        hand=np.zeros(3),
        object=np.array([distance, 0.0, 0.0]),
        goal=np.ones(3),
    )
    return OperatorView({}, policy, known if privileged else None, step, in_control=False)


def drive(operator: Operator, seed: int, steps: int = 60) -> list[np.ndarray | None]:
    """What an operator asks for on a scripted walk to the object and on."""
    operator.begin_episode(np.random.default_rng(seed))
    asked = []
    for step in range(steps):
        expert = (math.sin(step / 3), math.cos(step / 5), 0.5, 1.0 if step > 20 else -1.0)
        seen = view(step, distance=abs(0.4 - 0.02 * step), expert=expert)
        asked.append(operator.decide(seen).action)
    return asked


def same(left: list[np.ndarray | None], right: list[np.ndarray | None]) -> bool:
    return all(
        (a is None and b is None) or (a is not None and b is not None and (a == b).all())
        for a, b in zip(left, right, strict=True)
    )


def settings_of(name: str, **gate: Any) -> Any:
    """A preset with other numbers in its gate."""
    config = OPERATORS.load(name).preset().config
    return dataclasses.replace(config, gate=dataclasses.replace(config.gate, **gate))


def make(
    name: str, spec: ActionSpec = SPEC, *, gate: dict[str, Any] | None = None, **context: Any
) -> Any:
    config = settings_of(name, **gate) if gate else OPERATORS.load(name).preset().config
    return create_operator(config, OperatorContext(spec, name, **context))


def hand(config: SkillConfig, seed: int = 0, spec: ActionSpec = SPEC) -> Skill:
    skill = Skill(spec, config)
    skill.begin_episode(np.random.default_rng(seed))
    skill.take_over()
    return skill


def acts(
    skill: Skill, steps: int, expert: Sequence[float], distance: float | None = 0.0
) -> np.ndarray:
    """(steps, A)."""
    out = []
    for _ in range(steps):
        skill.observe(np.asarray(expert, np.float32))
        out.append(skill.act(distance))
    return np.asarray(out)


# Presets


def test_the_presets_are_designs() -> None:
    assert SIMULATED == [
        "expert",
        "steady",
        "novice",
        "heterogeneous",
        "careless",
        "keyboard",
        "tired",
        "habit",
        "two-hands",
        "half",
        "late",
        "two-ways",
        "none",
    ]


@pytest.mark.parametrize("demonstrating", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_is_the_same_person(name: str, demonstrating: bool) -> None:
    def build() -> Operator:
        person = make(name, gate={"probability": 0.5})
        return person.demonstrator() if demonstrating else person

    used = build()
    first = drive(used, seed=1)
    drive(used, seed=2)
    assert same(first, drive(used, seed=1))  # nothing is left over
    assert same(first, drive(build(), seed=1))
    assert any(action is not None for action in first)
    if name != "expert" or not demonstrating:
        assert not same(first, drive(used, seed=2))


@pytest.mark.parametrize("name", NAMES)
def test_every_action_is_executable(name: str) -> None:
    for action in drive(make(name).demonstrator(), seed=3):
        assert action is not None  # a demonstrator drives the whole time
        assert action.shape == (4,)
        assert action.dtype == np.float32
        assert np.abs(action).max() <= 1.0
        assert action[3] in (-1.0, 1.0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("spec", [ActionSpec(4), ActionSpec(2), ActionSpec(14, (6, 13))])
def test_any_action_spec(name: str, spec: ActionSpec) -> None:
    operator = make(name, spec).demonstrator()
    operator.begin_episode(np.random.default_rng(0))
    for step in range(30):
        seen = view(step, expert=[0.5] * spec.size, policy=np.zeros(spec.size, np.float32))
        action = operator.decide(seen).action
        assert action is not None
        np.testing.assert_array_equal(action, spec.snap(action))


@pytest.mark.parametrize("name", NAMES)
def test_the_description_has_every_number_that_differs(name: str) -> None:
    preset = OPERATORS.load(name).preset().config
    text = describe_operator(name, preset)
    assert text.startswith(f"operator {name}: {OPERATORS.get(name).summary}.")
    for config, default in ((preset.skill, SkillConfig()), (preset.gate, GateConfig())):
        for field in dataclasses.fields(config):
            value = getattr(config, field.name)
            if value == getattr(default, field.name) or isinstance(value, bool):
                continue
            if isinstance(value, str):
                assert value in text, field.name
                continue
            for number in value if isinstance(value, tuple) else (value,):
                assert f"{number:g}" in text or f"{number:.0%}" in text, field.name


def test_a_run_begins_with_who_it_is_and_with_numbers_only_if_somebody_changed_one() -> None:
    preset = OPERATORS.load("steady").preset().config
    text = introduce_operator("steady", preset)
    assert text == (
        "operator steady: a practised hand: small errors, the same everywhere. "
        "Simulated; its numbers: silri list operators steady"
    )
    changed = dataclasses.replace(preset, skill=dataclasses.replace(preset.skill, jitter=0.9))
    assert introduce_operator("steady", changed) == describe_operator("steady", changed)
    nobody = OPERATORS.load("none").preset().config
    assert introduce_operator("none", nobody) == describe_operator("none", nobody)


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (SkillConfig, {"jitter": -0.1}, r"operator\.skill\.jitter takes a number >= 0, got -0\.1"),
        (SkillConfig, {"mistake": 1.5}, r"operator\.skill\.mistake takes a number from 0 to 1"),
        (SkillConfig, {"delay": -1}, r"operator\.skill\.delay takes a whole number >= 0, got -1"),
        (SkillConfig, {"radius": 0.0}, r"operator\.skill\.radius takes a number > 0"),
        (
            SkillConfig,
            {"key_steps": (0, 2)},
            r"operator\.skill\.key_steps\[0\] takes a whole number",
        ),
        (SkillConfig, {"mistake_steps": (5, 2)}, r"skill\.mistake_steps takes shortest <= longest"),
        (SkillConfig, {"other_habit": (0.1,)}, r"skill\.other_habit needs operator\.skill\.habit"),
        (
            SkillConfig,
            {"errs": "up"},
            r"operator\.skill\.errs takes 'everywhere'",
        ),
        (GateConfig, {"late": (5, 2)}, r"operator\.gate\.late takes shortest <= longest"),
        (GateConfig, {"hold": (5, 2)}, r"operator\.gate\.hold takes shortest <= longest"),
        (
            GateConfig,
            {"probability": 2.0},
            r"operator\.gate\.probability takes a number from 0 to 1",
        ),
        (GateConfig, {"stall_steps": 0}, r"operator\.gate\.stall_steps takes a whole number >= 1"),
        (GateConfig, {"budget": -1}, r"operator\.gate\.budget takes a whole number >= 0"),
        (GateConfig, {"memory": 0.5}, r"operator\.gate\.memory takes a number >= 1"),
    ],
)
def test_wrong_numbers(kind: Any, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kind(**fields)


def test_unknown_names() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'heterogeneous'"):
        OPERATORS.load("heterogenous")


def test_nobody() -> None:
    operator = make("none")
    assert isinstance(operator, NoOperator)
    operator.begin_episode(np.random.default_rng(0))
    assert not operator.decide(view(privileged=False)).engaged
    operator.end_episode({})
    operator.restore(operator.state())
    config = OPERATORS.load("none").preset().config
    assert describe_operator("none", config) == "operator none: nobody ever intervenes."
    with pytest.raises(ConfigError, match="'none' cannot demonstrate"):
        operator.demonstrator()


def test_who_demonstrates_is_a_second_person_with_the_same_hand() -> None:
    """Each has a gate and a memory of its own, so that one learns nothing from the other."""
    person = make("tired")
    before = person.state()
    demonstrator = person.demonstrator()
    drive(demonstrator, seed=1)
    demonstrator.end_episode({"success": 1.0, "length": 30.0, "intervention_steps": 30.0})
    assert person.state() == before
    assert same(drive(person, seed=2), drive(make("tired"), seed=2))


# Experts


def test_without_any_expert_the_error_says_what_to_do() -> None:
    operator = make("novice")
    operator.begin_episode(np.random.default_rng(0))
    with pytest.raises(ConfigError, match=r"'novice' needs an expert.*--expert-run.*demos 0"):
        operator.decide(view(privileged=False))


def test_a_trained_policy_as_expert() -> None:
    operator = make("expert", expert=lambda _: np.array([0.1, 0.2, 0.3, 0.9])).demonstrator()
    operator.begin_episode(np.random.default_rng(0))
    for privileged in (True, False):
        action = operator.decide(view(privileged=privileged)).action
        np.testing.assert_allclose(action, [0.1, 0.2, 0.3, 1.0])


# Skill


def test_the_expert_is_clipped_before_it_is_perturbed() -> None:
    """Noise on an unclipped 19 would vanish: the person would be a perfect one."""
    actions = acts(hand(SkillConfig(jitter=0.5)), 2000, [19.0, -19.0, 0.0, 1.0])
    assert 0.45 < (actions[:, 0] < 1.0).mean() < 0.55  # half of the noise points inwards
    assert 0.45 < (actions[:, 1] > -1.0).mean() < 0.55
    assert actions[:, 2].std() == pytest.approx(0.47, abs=0.03)  # 0.5, clipped at 1
    assert np.abs(actions).max() == 1.0


def test_the_error_depends_on_the_distance() -> None:
    config = SkillConfig(jitter=0.2, far=0.15, near=0.85)
    for distance, amount in ((0.0, 1.0), (0.08, 0.15 + 0.85 / math.e), (1.0, 0.15)):
        actions = acts(hand(config), 3000, [0.0, 0.0, 0.0, 1.0], distance)
        assert actions[:, :3].std() == pytest.approx(0.2 * amount, rel=0.05)
    unknown = acts(hand(config), 3000, [0.0, 0.0, 0.0, 1.0], None)
    np.testing.assert_array_equal(unknown, acts(hand(config), 3000, [0.0, 0.0, 0.0, 1.0], 0.08))


def test_the_bias_is_drawn_at_each_takeover() -> None:
    skill = hand(SkillConfig(bias=0.2))
    seen = []
    for _ in range(400):
        skill.take_over()
        actions = acts(skill, 3, [0.0, 0.0, 0.0, 1.0])
        assert (actions == actions[0]).all()  # and kept
        seen.append(actions[0, :3])
    assert np.std(seen) == pytest.approx(0.2, rel=0.1)
    assert abs(np.mean(seen)) < 0.02


def test_a_habit_is_the_same_in_every_episode_and_stronger_at_the_object() -> None:
    skill = hand(SkillConfig(habit=(0.4, -0.2, 0.1), far=0.5, near=0.5))
    for seed in (1, 2):
        skill.begin_episode(np.random.default_rng(seed))
        skill.take_over()
        near = acts(skill, 2, [0.0, 0.0, 0.0, 1.0], 0.0)
        far = acts(skill, 2, [0.0, 0.0, 0.0, 1.0], 1.0)
        np.testing.assert_allclose(near[:, :3], [[0.4, -0.2, 0.1]] * 2, rtol=1e-6)
        np.testing.assert_allclose(far, near * [0.5, 0.5, 0.5, 1.0], rtol=1e-6)
    two_arms = acts(hand(SkillConfig(habit=(0.4, 0.1)), spec=ActionSpec(5)), 1, [0.0] * 5, 0.0)
    np.testing.assert_allclose(two_arms[0], [0.4, 0.1, 0.4, 0.1, 0.4], rtol=1e-6)


def test_two_people_take_turns_by_episodes() -> None:
    skill = hand(SkillConfig(habit=(0.4,), other_habit=(-0.2,)))
    firsts = []
    for seed in range(200):
        skill.begin_episode(np.random.default_rng(seed))
        actions = []
        for _ in range(2):  # takeovers of one episode are one person's
            skill.take_over()
            actions.append(acts(skill, 1, [0.0, 0.0, 0.0, 1.0])[0, 0])
        assert actions[0] == actions[1]
        firsts.append(actions[0])
    assert set(np.round(firsts, 3)) == {np.float32(0.4), np.float32(-0.2)}
    assert 70 < np.sum(np.asarray(firsts) > 0) < 130


@pytest.mark.parametrize(("errs", "wrong"), [("left", -0.1), ("right", 0.1)])
def test_who_errs_on_one_side_is_an_expert_on_the_other(errs: Any, wrong: float) -> None:
    config = SimulatedConfig(SkillConfig(habit=(0.4, 0.1, 0.2), errs=errs, jitter=0.3))
    operator = create_operator(config, OperatorContext(SPEC, "habit")).demonstrator()
    for x, right in ((wrong, False), (-wrong, True)):
        operator.begin_episode(np.random.default_rng(0))
        for step in range(5):
            seen = view(step, distance=x, expert=(0.2, 0.1, 0.0, 1.0))
            action = operator.decide(seen).action
            assert action is not None
            assert np.allclose(action, [0.2, 0.1, 0.0, 1.0]) == right
        pushed = operator.decide(view(5, distance=-x, expert=(0.2, 0.1, 0.0, 1.0))).action
        assert pushed is not None  # where it began is what counts
        assert np.allclose(pushed, [0.2, 0.1, 0.0, 1.0]) == right


def test_who_is_late_comes_late_and_even_when_the_reason_is_gone() -> None:
    gate = Gate(GateConfig(probability=1.0, window=1, late=(3, 3), hold=(2, 2)), None)
    gate.begin_episode(np.random.default_rng(0))
    driven = [gate.decide(2.0 if step == 0 else 0.0, None, step) for step in range(8)]
    assert driven == [(False, False)] * 3 + [(True, True), (True, False)] + [(False, False)] * 3
    gate.end_episode({"success": 0.0, "length": 8, "intervention_steps": 2})
    assert gate.state()["used"] == 2


def test_a_discrete_gripper_does_not_shake_and_a_continuous_one_does() -> None:
    config = SkillConfig(jitter=0.8, bias=0.5)
    assert set(acts(hand(config), 500, [0.0, 0.0, 0.0, 1.0])[:, 3]) == {1.0}
    assert acts(hand(config, spec=ActionSpec(4)), 500, [0.0] * 4)[:, 3].std() > 0.3


def test_reaction_is_late_for_motion_and_gripper() -> None:
    skill = hand(SkillConfig(delay=2))
    said = []
    for step in range(6):
        (right,) = skill.observe(np.array([step / 10, 0.0, 0.0, 1.0 if step >= 3 else -1.0]))
        assert right[0] == pytest.approx(step / 10)  # what is compared with the policy is not
        said.append(skill.act(0.0))
    np.testing.assert_allclose(np.asarray(said)[:, 0], [0, 0, 0, 0.1, 0.2, 0.3], atol=1e-6)
    np.testing.assert_array_equal(np.asarray(said)[:, 3], [-1, -1, -1, -1, -1, 1])


def test_hesitation_stops_the_hand_and_keeps_the_grip() -> None:
    config = SkillConfig(hesitation=0.05, hesitation_steps=(3, 3))
    actions = acts(hand(config), 4000, [0.5, 0.5, 0.5, 1.0])
    still = (actions[:, :3] == 0).all(axis=1)
    assert still.mean() == pytest.approx(3 / (3 + 19), rel=0.15)  # 19 steps between, on average
    assert (actions[:, 3] == 1.0).all()
    runs = np.diff(np.flatnonzero(np.diff(np.r_[False, still, False].astype(int))))[::2]
    assert (runs[:-1] % 3 == 0).all()


def test_mistakes_come_at_the_beginning_of_takeovers() -> None:
    config = SkillConfig(mistake=0.5, mistake_steps=(3, 12), mistake_gripper=0.5)
    skill = hand(config)
    lengths, wrong_grips = [], 0
    for _ in range(600):
        skill.take_over()
        actions = acts(skill, 15, [0.5, 0.5, 0.5, 1.0])
        wrong = ~np.isclose(actions[:, :3], 0.5).all(axis=1)
        lengths.append(int(wrong.sum()))
        assert wrong[: lengths[-1]].all()
        assert (actions[wrong] == actions[0]).all()  # in one direction
        wrong_grips += bool((actions[:, 3] == -1.0).any())
    made = [length for length in lengths if length]
    assert len(made) / len(lengths) == pytest.approx(0.5, abs=0.06)
    assert (min(made), max(made)) == (3, 12)
    assert wrong_grips / len(made) == pytest.approx(0.5, abs=0.08)


def test_one_axis_at_a_time() -> None:
    actions = acts(hand(SkillConfig(jitter=0.1, one_axis=True)), 600, [1.0, -0.5, 0.0, 1.0])
    pressed = actions[:, :3] != 0
    assert (pressed.sum(axis=1) == 1).all()
    share = pressed.mean(axis=0)
    assert share[2] == 0.0  # nothing to do there
    assert share[0] == pytest.approx(2 / 3, abs=0.08)
    still = acts(hand(SkillConfig(one_axis=True)), 5, [0.0, 0.0, 0.0, 1.0])
    assert (still[:, :3] == 0).all()


# Gates


def open_share(config: GateConfig, disagreement: float, episodes: int = 300) -> float:
    """Share of episodes in which the gate opens in its sixth step or before."""
    gate = Gate(config, max_episode_steps=100)
    opened = 0
    for seed in range(episodes):
        gate.begin_episode(np.random.default_rng(seed))
        opened += any(gate.decide(disagreement, None, step)[0] for step in range(6))
    return opened / episodes


def test_disagreement_opens_with_its_probability() -> None:
    assert open_share(GateConfig(), 0.79) == 0.0
    # The window of 5 is full in the fifth step: two chances.
    assert open_share(GateConfig(), 0.81) == pytest.approx(1 - 0.85**2, abs=0.06)
    assert open_share(GateConfig(probability=1.0), 0.81) == 1.0
    assert open_share(GateConfig(probability=1.0, disagreement=None), 9.0) == 0.0


def test_a_robot_that_asks_is_answered_with_its_probability() -> None:
    def answered(config: GateConfig, episodes: int = 400) -> float:
        gate = Gate(config)
        said = []
        for seed in range(episodes):
            gate.begin_episode(np.random.default_rng(seed))
            said.append(gate.decide(0.0, None, 0, asked=True)[0])
        return float(np.mean(said))

    assert answered(GateConfig()) == pytest.approx(0.5, abs=0.06)
    assert answered(GateConfig(answer=1.0)) == 1.0
    assert answered(GateConfig(answer=0.0)) == 0.0
    assert answered(GateConfig(answer=1.0, budget=0)) == 0.0
    with pytest.raises(
        ConfigError, match=r"operator\.gate\.answer takes a number from 0 to 1, got 2"
    ):
        GateConfig(answer=2)


def test_disagreement_is_a_mean_over_the_window() -> None:
    gate = Gate(GateConfig(probability=1.0))
    gate.begin_episode(np.random.default_rng(0))
    said = [gate.decide(amount, None, 0)[0] for amount in (4.1, 0, 0, 0, 0, 0, 0)]
    assert said[:5] == [False] * 4 + [True]


def test_holds() -> None:
    gate = Gate(GateConfig(probability=1.0, hold=(5, 25)))
    held = []
    for seed in range(400):
        gate.begin_episode(np.random.default_rng(seed))
        begins = [gate.decide(2.0, None, step)[1] for step in range(70)]
        starts = np.flatnonzero(begins)
        assert starts[0] == 4
        held += np.diff(starts).tolist()
    assert (min(held), max(held)) == (5, 25)
    assert np.mean(held) == pytest.approx(15, abs=0.6)


def test_letting_go_when_there_is_no_reason_any_more() -> None:
    gate = Gate(GateConfig(probability=1.0, hold=(5, 5)))
    gate.begin_episode(np.random.default_rng(0))
    drives = [gate.decide(2.0 if step < 5 else 0.0, None, step)[0] for step in range(30)]
    # Taken over in step 4 for 5 steps; by then the window has no disagreement left.
    assert [step for step, does in enumerate(drives) if does] == [4, 5, 6, 7, 8]


def test_stalling_is_a_reason() -> None:
    config = GateConfig(probability=1.0, disagreement=None, stall_steps=10, hold=(1, 1))
    gate = Gate(config)

    def when(places: list[np.ndarray | None]) -> list[int]:
        gate.begin_episode(np.random.default_rng(0))
        return [step for step, at in enumerate(places) if gate.decide(0.0, at, step)[0]]

    still: list[np.ndarray | None] = [np.zeros(6)] * 13
    assert when(still) == [10, 11, 12]
    moving = [np.r_[0.002 * step, np.zeros(5)] for step in range(13)]
    assert when([*moving]) == []
    pushed = [np.r_[np.zeros(5), 0.002 * step] for step in range(13)]  # the object only
    assert when([*pushed]) == []
    creeping = [np.r_[0.0005 * step, np.zeros(5)] for step in range(13)]
    assert when([*creeping]) == [10, 11, 12]
    assert when([None] * 13) == []


def test_running_out_of_time_is_a_reason() -> None:
    config = GateConfig(probability=1.0, disagreement=None, rescue_steps=20)
    gate = Gate(config, max_episode_steps=100)
    gate.begin_episode(np.random.default_rng(0))
    assert next(step for step in range(100) if gate.decide(0.0, None, step)[0]) == 80
    with pytest.raises(ConfigError, match="max_episode_steps"):
        make("novice", gate={"rescue_steps": 20})


def test_a_budget_ends_and_survives_a_restart() -> None:
    config = GateConfig(probability=1.0, hold=(10, 10), budget=25)
    gate = Gate(config)

    def episode(steps: int = 18) -> int:
        gate.begin_episode(np.random.default_rng(0))
        used = sum(gate.decide(2.0, None, step)[0] for step in range(steps))
        gate.end_episode({"success": 0.0, "length": steps, "intervention_steps": used})
        return used

    assert episode() == 14
    saved = gate.state()
    gate = Gate(config)
    gate.restore(saved)
    assert episode() == 11  # in the middle of a hold
    assert episode() == 0


def test_attention_fades_with_the_robots_own_success() -> None:
    config = GateConfig(fading=0.8, memory=5)
    gate = Gate(config)

    def finish(success: float, driven: float) -> float:
        gate.end_episode({"success": success, "length": 50.0, "intervention_steps": driven})
        return gate.state()["success"]

    assert [finish(1.0, 50.0) for _ in range(5)] == [0.0] * 5  # the person's success, not its own
    rising = [finish(1.0, 0.0) for _ in range(40)]
    assert rising == sorted(rising)
    assert rising[-1] == pytest.approx(1.0, abs=1e-3)

    def opened() -> float:
        total = 0
        for seed in range(400):
            gate.begin_episode(np.random.default_rng(seed))
            total += [gate.decide(2.0, None, step)[0] for step in range(5)][-1]
        return total / 400

    assert opened() == pytest.approx(0.15 * 0.2, abs=0.02)
    gate.restore({"success": 0.0, "used": 0.0})
    assert opened() == pytest.approx(0.15, abs=0.05)


def test_state_is_fed_by_episode_ends_only() -> None:
    operator = make("tired", gate={"probability": 1.0})
    before = operator.state()
    drive(operator, seed=0)
    assert operator.state() == before
    operator.end_episode({"success": 1.0, "length": 60.0, "intervention_steps": 6.0})
    after = operator.state()
    assert after == {"success": pytest.approx(0.9 / 20), "used": 6.0}
    other = make("tired", gate={"probability": 1.0})
    other.restore(after)
    assert other.state() == after
    assert same(drive(operator, seed=4), drive(other, seed=4))


def test_a_demonstration_is_a_row_of_bouts() -> None:
    gate = AlwaysGate(GateConfig(hold=(5, 25)))
    gate.begin_episode(np.random.default_rng(0))
    said = [gate.decide(0.0, None, step) for step in range(2000)]
    assert all(drives for drives, _ in said)
    starts = np.flatnonzero([begins for _, begins in said])
    assert starts[0] == 0
    assert (np.diff(starts).min(), np.diff(starts).max()) == (5, 25)


def test_disagreement_includes_the_gripper_and_uses_the_clipped_expert() -> None:
    def engaged(expert: Sequence[float], policy: Sequence[float]) -> bool:
        operator = make("expert", gate={"probability": 1.0})
        assert isinstance(operator, SimulatedOperator)
        operator.begin_episode(np.random.default_rng(0))
        proposed = np.asarray(policy, np.float32)
        return any(
            operator.decide(view(step, expert=expert, policy=proposed)).engaged for step in range(5)
        )

    assert not engaged((19.0, -7.0, 0.0, 1.0), (1.0, -1.0, 0.0, 1.0))
    assert engaged((0.0, 0.0, 0.0, 1.0), (0.0, 0.0, 0.0, -1.0))
    assert engaged((0.5, 0.5, 0.0, 1.0), (0.0, 0.0, 0.7, 1.0))
    assert not engaged((0.5, 0.5, 0.0, 1.0), (0.0, 0.0, 0.3, 1.0))
