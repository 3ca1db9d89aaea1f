from __future__ import annotations

import gc
import json
import math
import weakref

import numpy as np
import pytest

from silri.core.clock import FakeClock
from silri.core.errors import ConfigError, SpecError
from silri.core.protocols import Disturbable, HasPrivileged, OperatorInput
from silri.data.episode import EpisodeBuilder
from silri.intervention.arbiter import Arbiter
from silri.runtime.acting.rollout import PAUSE_POLL_S, rollout
from silri.runtime.pace.histogram import Histogram
from silri.runtime.pace.realtime import (
    PacedEnv,
    Pacer,
    TimedPolicy,
    no_garbage_collection,
)
from silri.runtime.pace.timing import NOTICE_EVERY_S, LoopTiming
from tests.fakes.envs.point import PointMass

HZ = 20.0
PERIOD = 1 / HZ


class Coarse(FakeClock):
    """Oversleeps as a real one does, and sometimes wakes up too early."""

    def __init__(self, late=0.0, early=False):
        super().__init__()
        self.late, self.early, self.sleeps = late, early, []

    def sleep(self, seconds):
        self.sleeps.append(seconds)
        super().sleep(seconds / 2 if self.early and len(self.sleeps) % 2 else seconds + self.late)


class World(PointMass):
    """A point that takes its time: ``work[i]`` seconds in step i, then the last one for ever."""

    def __init__(self, clock, *work, stamps=lambda now: {}):
        super().__init__()
        self.clock, self.work, self.stamps = clock, list(work) or [0.0], stamps
        self.entered = []

    def reset(self, **keywords):
        self.clock.advance(3.0)
        return super().reset(**keywords)

    def step(self, action):
        self.entered.append(self.clock.now())
        self.clock.advance(self.work[min(self.steps, len(self.work) - 1)])
        *result, info = super().step(action)
        return *result, info | self.stamps(self.clock.now())


class Robot(World):
    """Waits by itself between command and sensing, which takes ``sensing`` seconds."""

    sensing = 0.002

    def pace(self, wait):
        self.wait = wait

    def step(self, action):
        result = super().step(action)
        self.wait()
        self.clock.advance(self.sensing)
        return result


class Policy:
    version = 7

    def __init__(self, clock, seconds):
        self.clock, self.seconds = clock, seconds

    def propose(self, observation, episode, step):
        self.clock.advance(self.seconds)
        return np.asarray([0.1, 0.2, 0.3, -1.0], np.float32), {"confidence": 1.0}


class Operator:
    def begin_episode(self, rng): ...

    def decide(self, view):
        return self.answers.pop(0) if self.answers else OperatorInput(False)


class Loop:
    """The parts of a paced rollout over a world."""

    def __init__(self, *work, inference=0.01, kind=World, clock=None, **keywords):
        self.clock = clock or FakeClock()
        self.world = kind(self.clock, *work, **keywords)
        self.said = []
        self.pacer = Pacer(self.clock, HZ)
        self.timing = LoopTiming(HZ, lambda text, details: self.said.append((text, details)))
        self.env = PacedEnv(self.world, self.pacer, self.timing)
        self.operator = Operator()
        self.policy = TimedPolicy(Policy(self.clock, inference), self.pacer, self.timing)

    def run(self, *answers):
        spec = self.world.env_spec
        self.operator.answers = list(answers)
        return rollout(
            self.env,
            self.policy,
            self.operator,
            Arbiter(spec.action, 0),
            EpisodeBuilder(spec, 0, False, 3, "task", "person"),
            rng=np.random.default_rng(0),
            on_step=lambda *_: None,
            stop=lambda: False,
            clock=self.pacer,
        )

    def of(self, name):
        histogram = self.timing.histograms[name]
        return histogram.least, histogram.most, histogram.count


# -- deadlines -----------------------------------------------------------------------------------


def test_deadlines_are_absolute_so_that_no_error_adds_up():
    clock = Coarse(late=0.0003)
    pacer = Pacer(clock, HZ)
    for index in range(1, 1001):
        clock.advance(0.007)
        wake = pacer.wait()
        assert wake.woke == pytest.approx(index * PERIOD + 0.0003, abs=1e-9)
        assert not wake.lost
    assert pacer.tick == pytest.approx(1000 * PERIOD, abs=1e-9)


def test_a_sleep_that_ends_early_is_continued():
    clock = Coarse(early=True)
    wake = Pacer(clock, HZ).wait()
    assert clock.sleeps == [PERIOD, PERIOD / 2]
    assert wake.woke == PERIOD


def test_a_late_step_is_made_up_for_within_a_period():
    clock = FakeClock()
    pacer = Pacer(clock, HZ)
    clock.advance(1.5 * PERIOD)
    assert pacer.wait().woke == 1.5 * PERIOD  # at once
    assert pacer.wait().woke == pytest.approx(2 * PERIOD)  # back on the grid


@pytest.mark.parametrize("gap", [2.01 * PERIOD, 1.0, 3600.0])
def test_what_is_lost_is_lost_there_is_no_burst(gap):
    clock = FakeClock()
    pacer = Pacer(clock, HZ)
    clock.advance(gap)
    wake = pacer.wait()
    assert wake.lost
    assert wake.woke == pacer.tick == gap
    for index in (1, 2, 3):
        wake = pacer.wait()
        assert not wake.lost
        assert wake.period == pytest.approx(PERIOD)
        assert wake.woke == pytest.approx(gap + index * PERIOD)


def test_a_loop_that_is_always_too_slow_runs_as_fast_as_it_can():
    clock = FakeClock()
    pacer = Pacer(clock, HZ)
    for _ in range(50):
        clock.advance(1.2 * PERIOD)
        assert pacer.wait().period == pytest.approx(1.2 * PERIOD)
    assert clock.now() == pytest.approx(50 * 1.2 * PERIOD)


@pytest.mark.parametrize("hz", [0, -1.0, math.nan, math.inf])
def test_a_rate_is_positive(hz):
    with pytest.raises(ConfigError, match="above 0"):
        Pacer(FakeClock(), hz)


# -- the environment -----------------------------------------------------------------------------


def test_a_rollout_keeps_the_rate():
    loop = Loop(0.005)
    assert loop.run().end == "finished"
    steps = loop.world.env_spec.max_episode_steps
    assert np.diff(loop.world.entered) == pytest.approx(np.full(steps - 1, PERIOD))
    assert loop.world.entered[0] == pytest.approx(3.0 + 0.01)  # counted from the reset's end
    assert loop.clock.now() == pytest.approx(3.0 + steps * PERIOD)
    assert loop.of("period") == pytest.approx((PERIOD, PERIOD, steps))
    assert loop.of("inference") == pytest.approx((0.01, 0.01, steps))
    assert loop.of("command_latency") == pytest.approx((0.01, 0.01, steps))
    # The first observation is of the reset's end, the others of a step's return.
    assert loop.of("observation_age") == pytest.approx((0.01, PERIOD - 0.005, steps))
    assert not loop.said


def test_a_robot_senses_after_the_wait():
    loop = Loop(0.005, kind=Robot)
    loop.run()
    steps = loop.world.env_spec.max_episode_steps
    assert loop.of("period") == pytest.approx((PERIOD, PERIOD, steps))
    assert loop.of("observation_age") == pytest.approx((0.01, 0.01, steps))
    assert loop.of("command_latency")[1] == pytest.approx(Robot.sensing + 0.01)


def test_a_robot_that_forgets_to_wait_is_waited_for():
    class Forgetful(Robot):
        def step(self, action):
            if self.steps == 2:
                return World.step(self, action)
            return super().step(action)

    loop = Loop(kind=Forgetful)
    loop.run()
    assert np.diff(loop.world.entered) == pytest.approx(PERIOD, abs=2 * Robot.sensing)


def test_a_robot_may_wait_on_its_way_home():
    class Homing(Robot):
        def reset(self, **keywords):
            for _ in range(3):
                self.wait()
            return super().reset(**keywords)

    loop = Loop(kind=Homing)
    loop.run()
    steps = loop.world.env_spec.max_episode_steps
    assert loop.clock.now() == pytest.approx(3.0 + (3 + steps) * PERIOD + Robot.sensing)
    assert loop.timing.histograms["period"].count == steps


def test_true_ages_come_from_the_robot():
    def stamps(now):
        return {"commanded_at": np.float64(now - 0.001), "observed_at": np.float64(now - 0.0005)}

    loop = Loop(0.005, stamps=stamps)
    loop.run()
    assert loop.of("command_latency") == pytest.approx((0.014, 0.014, 8))
    assert loop.of("observation_age")[1] == pytest.approx(PERIOD - 0.01 + 0.0005 + 0.009)


@pytest.mark.parametrize(
    "stamps",
    [
        {"observed_at": 1.7e9},  # time.time()
        {"observed_at": math.nan},
        {"observed_at": "now"},
        {"commanded_at": 0.0},  # before the step began
        {"commanded_at": 1e3},
    ],
)
def test_a_time_stamp_of_another_clock_is_a_fault(stamps):
    loop = Loop(0.005, stamps=lambda now: stamps)
    outcome = loop.run()
    assert outcome.end == "fault"
    assert "of the run's clock" in outcome.reason
    loop.env.reset()
    with pytest.raises(SpecError, match=next(iter(stamps))):
        loop.env.step(np.zeros(4, np.float32))


def test_what_the_environment_offers_is_offered_and_nothing_else():
    class Plain:
        env_spec = PointMass().env_spec
        closed = False

        def close(self):
            self.closed = True

    class Kicked(Plain):
        disturbances = ("kick",)

        def disturb(self, kind, rng):
            return kind == "kick"

    def paced(env):
        pacer = Pacer(FakeClock(), HZ)
        return PacedEnv(env, pacer, LoopTiming(HZ))

    simulator = PointMass()
    assert isinstance(paced(simulator), HasPrivileged)
    simulator.reset(seed=0)
    np.testing.assert_array_equal(paced(simulator).privileged().hand, simulator.privileged().hand)
    assert not isinstance(paced(Plain()), HasPrivileged)
    assert not hasattr(paced(Plain()), "privileged")
    assert not isinstance(paced(Plain()), Disturbable)
    assert isinstance(paced(Kicked()), Disturbable)
    assert paced(Kicked()).disturb("kick", None)
    assert paced(Kicked()).disturbances == ("kick",)
    plain = Plain()
    paced(plain).close()
    assert plain.closed


def test_the_policy_s_version_goes_through():
    policy = Policy(FakeClock(), 0.0)
    timed = TimedPolicy(policy, FakeClock(), LoopTiming(HZ))
    policy.version = 9
    assert timed.version == 9


def test_a_pause_is_no_late_step():
    pause = OperatorInput(False, pause=True)
    loop = Loop(0.005)
    loop.run(OperatorInput(False), *[pause] * 1000)
    assert loop.clock.now() == pytest.approx(3.0 + 1000 * PAUSE_POLL_S + 8 * PERIOD + 0.01)
    assert loop.of("period") == pytest.approx((PERIOD, PERIOD, 8))
    # Not of the command after the pause: it rests on what was looked at anew.
    assert loop.of("observation_age") == pytest.approx((0.01, PERIOD - 0.005, 7))
    assert not loop.said
    metrics = loop.timing.end_episode()
    assert (metrics["loop/late"], metrics["loop/overruns"]) == (0, 0)


# -- the alarm -----------------------------------------------------------------------------------


def drive(loop, *busy):
    """One step for each: so long is the policy busy."""
    loop.env.reset(seed=0)
    for seconds in busy:
        loop.policy._policy.seconds = seconds
        action, _ = loop.policy.propose({}, 0, 0)
        loop.env.step(action)


def endless(loop):
    """Its episode never ends."""
    loop.world.step = lambda action: ({}, 0.0, False, False, {})
    return loop


SLOW = 1.3 * PERIOD


def test_one_slow_step_in_a_hundred_is_tolerated():
    loop = endless(Loop())
    drive(loop, *([0.01] * 99 + [SLOW]) * 5)
    assert not loop.said
    assert loop.timing.end_episode()["loop/late"] == 5


def test_a_missed_budget_is_said_with_its_reason():
    loop = endless(Loop())
    drive(loop, *[0.01] * 197, *[SLOW] * 3)
    ((text, details),) = loop.said
    assert "asked for 20 Hz and reaches 19.9 Hz: 3 of the last 200 steps were late" in text
    assert "instead of 50.0 ms. A late step spends most on inference 65.0 ms (" in text
    assert details["loop/late"] == 3
    assert details["loop/period_p99_ms"] == pytest.approx(65)


@pytest.mark.parametrize(
    ("work", "inference", "late", "expected"),
    [
        (0.06, 0.01, 0.0, "the environment 60.0 ms (inference 10.0 ms, the rest"),
        (0.005, 0.01, 0.038, "waking up 38.0 ms (inference 10.0 ms, the environment 5.0 ms"),
    ],
)
def test_the_reason_is_the_part_that_took_longest(work, inference, late, expected):
    loop = Loop(work, inference=inference, clock=Coarse(late=late))
    loop.run()
    assert expected in loop.said[0][0]


def test_the_rest_of_the_loop_can_be_the_reason():
    loop = Loop()
    loop.operator.decide = lambda view: loop.clock.advance(0.07) or OperatorInput(False)
    loop.run()
    assert "most on the rest of the loop 70.0 ms" in loop.said[0][0]


def test_a_slow_policy_that_keeps_the_rate_is_no_alarm():
    loop = endless(Loop())
    drive(loop, *[0.9 * PERIOD] * 300)
    assert not loop.said
    assert loop.timing.end_episode()["loop/command_latency_p99_ms"] == pytest.approx(45)


def test_the_alarm_repeats_itself_ever_more_rarely():
    loop = endless(Loop())
    spoken = []
    loop.timing._notify = lambda text, details: spoken.append(loop.clock.now())
    drive(loop, *[SLOW] * 2000)  # 130 s
    gaps = np.diff(spoken)
    assert gaps == pytest.approx([NOTICE_EVERY_S * 2**i for i in range(len(gaps))], abs=SLOW)
    assert len(gaps) == 3


def test_after_recovery_it_is_news_again():
    loop = endless(Loop())
    drive(loop, *[SLOW] * 700)
    before = len(loop.said)
    drive(loop, *[0.01] * 250)  # 12.5 s
    drive(loop, *[SLOW] * 3)
    assert len(loop.said) == before + 1


def test_a_stall_is_said_once():
    loop = endless(Loop())
    drive(loop, 0.01, 0.01, 40.0, 0.01, 0.01)
    ((text, details),) = loop.said
    assert "stood still for 40.0 s" in text
    assert details == {"loop/stalled_s": pytest.approx(40.0)}
    metrics = loop.timing.end_episode()
    assert (metrics["loop/late"], metrics["loop/overruns"]) == (1, 1)
    assert loop.timing.to_json()["stalls"] == 1


def test_a_policy_of_seconds_is_an_alarm_not_a_string_of_stalls():
    loop = endless(Loop())
    drive(loop, *[3.0] * 20)
    assert "stood still" in loop.said[0][0]
    assert all("inference 3000.0 ms" in text for text, _ in loop.said[1:])
    assert len(loop.said) == 4  # at 3, 9, 21 and 42 s


# -- what is reported ----------------------------------------------------------------------------


def test_metrics_are_of_one_episode_and_the_summary_of_all():
    loop = Loop(0.005)
    names = {
        "period_p50_ms",
        "period_p99_ms",
        "period_max_ms",
        "inference_p99_ms",
        "observation_age_p99_ms",
        "command_latency_p99_ms",
        "late",
        "overruns",
    }
    loop.run()
    first = loop.timing.end_episode()
    assert set(first) == {f"loop/{name}" for name in names}
    assert first["loop/period_max_ms"] == pytest.approx(50)
    assert first["loop/inference_p99_ms"] == pytest.approx(10)
    loop.world.work = [SLOW]
    loop.run()
    second = loop.timing.end_episode()
    assert second["loop/late"] == 8
    assert first["loop/late"] == 0
    assert second["loop/period_p50_ms"] == pytest.approx(1e3 * (SLOW + 0.01), rel=0.01)
    assert math.isnan(loop.timing.end_episode()["loop/period_p50_ms"])  # nothing since

    summary = json.loads(json.dumps(loop.timing.to_json(), allow_nan=False))
    assert (summary["hz"], summary["late"]) == (HZ, 8)
    histograms = {k: Histogram.from_json(v) for k, v in summary["histograms"].items()}
    assert {histogram.count for histogram in histograms.values()} == {16}
    assert histograms["period"].most == pytest.approx(SLOW + 0.01)


def test_garbage_is_collected_after_the_block():
    class Node:
        pass

    def cycle():
        node = Node()
        node.itself = node
        return weakref.ref(node)

    with no_garbage_collection():
        assert not gc.isenabled()
        garbage = cycle()
        assert garbage() is not None
    assert garbage() is None
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_garbage_collection_stays_as_it_was(monkeypatch):
    gc.disable()
    try:
        with pytest.raises(ZeroDivisionError), no_garbage_collection():
            1 / 0  # noqa: B018
        assert not gc.isenabled()
    finally:
        gc.enable()
