"""The control loop of a robot: what it drives with, what it keeps, when it stops."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from silri.core.clock import FakeClock
from silri.core.commands import Command, CommandQueue
from silri.core.errors import DataError, EnvironmentFault, RunFolderError
from silri.core.events import (
    DemonstrationStep,
    EpisodeBegan,
    EpisodeDiscarded,
    EpisodeEnded,
    EpisodeFinished,
    EpisodeQuarantined,
    Evaluated,
    Notice,
    RobotWaits,
    RunBegan,
    StepTaken,
)
from silri.core.protocols import OperatorInput
from silri.core.seeding import Stream, derive_seed
from silri.intervention.operators import SimulatedOperator
from silri.runtime.cluster import spool as spool_module
from silri.runtime.cluster.control import BEAT_S, RobotLoop
from silri.runtime.cluster.parameters import Parameters, pack, write_parameters
from silri.runtime.cluster.paths import read_record, write_record
from silri.runtime.cluster.spool import Spool
from silri.runtime.starting.prepare import make_operator
from silri.store.safety import files
from tests.fakes.cell import Cell, Faulty, Stop
from tests.fakes.envs.point import PointMass
from tests.fakes.models.agent import registered


@pytest.fixture(scope="module", autouse=True)
def fake():
    with registered():
        yield


@pytest.fixture
def cell(tmp_path):
    made = Cell(tmp_path / "spool")
    made.publish(0)
    return made


def test_episodes_go_to_the_spool_under_the_robots_numbers(cell):
    cell.loop(3).run()
    uploads = cell.episodes()
    assert [u.episode.origin for u in uploads] == [cell.spool.origin(n) for n in range(3)]
    assert {u.reason for u in uploads} == {""}
    assert not any(u.episode.is_demo for u in uploads)
    assert [u.episode.seed for u in uploads] == cell.env.resets[:3]
    assert cell.env.closed
    cell.loop(5).run()
    assert [u.episode.episode_id for u in cell.episodes()] == list(range(5))
    record = read_record(cell.paths.control)
    assert (record["episodes"], record["note"], record["pid"]) == (2, "stopped", os.getpid())


def test_it_never_moves_before_the_first_parameters(tmp_path):
    cell = Cell(tmp_path)
    stop = Stop(cell.spool, 1)
    notes = []

    def hook():
        notes.append(read_record(cell.paths.control).get("note"))
        if stop.asked == 50:
            assert cell.env.resets == []
            cell.publish(3)

    stop.hook = hook
    cell.loop(stop=stop).run()
    assert "waiting for parameters" in notes
    assert cell.versions() == [[3]]
    assert cell.clock.now() > 9  # it slept meanwhile


def test_asked_to_stop_while_it_waits(tmp_path):
    cell = Cell(tmp_path)
    stop = Stop(cell.spool, 0)
    cell.loop(stop=stop).run()
    assert cell.env.steps == 0
    assert cell.env.closed


def test_newer_parameters_are_taken_between_episodes_only(cell):
    """New ones come in every step."""
    stop, count = Stop(cell.spool, 4), [0]

    def hook():
        count[0] += 1
        cell.publish(count[0], seed=count[0])

    stop.hook = hook
    cell.loop(stop=stop).run()
    versions = cell.versions()
    assert all(len(each) == 1 for each in versions)
    assert [v for (v,) in versions] == sorted({v for (v,) in versions})


def test_parameters_written_within_one_tick_of_the_file_clock_are_seen(cell):
    stop, versions = Stop(cell.spool, 3), iter(range(1, 4))

    def hook():
        if not cell.env.resets or len(cell.spool.waiting()) == len(cell.env.resets):
            cell.publish(next(versions, 9))
        os.utime(cell.paths.policy, ns=(10**18, 10**18))

    stop.hook = hook
    cell.loop(stop=stop).run()
    assert cell.versions() == [[1], [2], [3]]


@pytest.mark.parametrize("kind", ["cut", "nothing", "of another agent"])
def test_damaged_parameters_keep_the_old_version(cell, caplog, kind):
    cell.publish(5)
    stop = Stop(cell.spool, 3)

    def hook():
        if len(cell.spool.waiting()) == 1:
            if kind == "cut":
                cell.publish(6, damage=True)
            elif kind == "nothing":
                cell.paths.policy.write_bytes(b"")
            else:
                write_parameters(cell.paths.policy, pack(Parameters(6, b"no safetensors")))

    stop.hook = hook
    cell.loop(stop=stop).run()
    assert cell.versions() == [[5], [5], [5]]
    assert "acting with version 5" in caplog.text


def test_damaged_first_parameters_are_complained_about_once(tmp_path, caplog):
    cell = Cell(tmp_path)
    cell.publish(5, damage=True)
    stop = Stop(cell.spool, 1)
    stop.hook = lambda: cell.publish(6) if stop.asked == 30 else None
    cell.loop(stop=stop).run()
    assert cell.versions() == [[6]]
    assert caplog.text.count("acting with version -1") == 1


def test_a_stop_in_an_episode_loses_that_one_alone(cell):
    stop = Stop(cell.spool, 99)
    loop = cell.loop(stop=stop)
    stop.hook = lambda: (
        setattr(
            stop, "episodes", 0 if (len(cell.spool.waiting()), cell.env._taken) == (2, 2) else 99
        )
        if cell.env.resets
        else None
    )
    loop.run()
    assert cell.spool.waiting() == [0, 1]
    assert len(cell.env.resets) == 3
    lost = cell.env.resets[2]
    cell.loop(3).run()
    assert cell.env.resets[0] == lost  # the same number, hence the same layout


@pytest.mark.parametrize("kind", ["raises", "nan"])
def test_a_fault_goes_to_the_spool_with_its_reason(cell, kind):
    cell.loop(4, env=Faulty({1}, kind=kind)).run()
    reasons = [u.reason for u in cell.episodes()]
    assert [bool(reason) for reason in reasons] == [False, True, False, False]
    assert ("gripper fell off" if kind == "raises" else "not finite") in reasons[1]
    assert not cell.episodes()[1].episode.success
    assert read_record(cell.paths.control)["faults"] == 1


def test_ten_faults_in_a_row_stop_it(cell):
    everywhere = set(range(1000)) - {3}
    with pytest.raises(EnvironmentFault, match=r"not finite.*are safe.*start robot 'arm'"):
        cell.loop(99, env=Faulty(everywhere, at=1, kind="nan")).run()
    assert [bool(u.reason) for u in cell.episodes()] == [True] * 3 + [False] + [True] * 10
    assert cell.env.closed
    assert read_record(cell.paths.control)["note"] == "stopped"
    cell.loop(15).run()  # the lock is free


def test_an_episode_that_fails_in_its_first_step_leaves_nothing_and_the_next_begins(cell):
    cell.loop(3, env=Faulty({1}, at=1)).run()
    assert cell.spool.waiting() == [0, 2, 3]
    assert {u.reason for u in cell.episodes()} == {""}
    notes = [event.text for event in cell.recorder.of(Notice)]
    assert notes == ["episode 1 did not begin: EnvironmentFault: the gripper fell off"]


def test_ten_first_steps_that_fail_stop_it(cell):
    with pytest.raises(EnvironmentFault, match=r"in 10 episodes in a row.*gripper fell off"):
        cell.loop(99, env=Faulty(range(1, 1000), at=1)).run()
    assert cell.spool.waiting() == [0]


def test_the_operators_state_survives_a_restart(cell):
    loop = cell.loop(4)
    fresh = dict(loop._operator.state())
    loop.run()
    state = dict(loop._operator.state())
    assert state != fresh
    again = cell.loop(4)
    assert dict(again._operator.state()) == state
    again.run()


def test_a_fault_teaches_the_operator_nothing(cell):
    loop = cell.loop(1, env=Faulty({0}))
    before = dict(loop._operator.state())
    loop.run()
    assert dict(loop._operator.state()) == before
    assert not cell.paths.operator.exists()


def test_two_robots_have_other_layouts_and_other_noise(tmp_path):
    seeds, actions = [], []
    for name in ("left", "right"):
        cell = Cell(tmp_path / name, name)
        cell.publish(0)
        operator = cell.config.operator
        nobody = replace(operator, gate=replace(operator.gate, probability=0.0))
        cell.config = replace(cell.config, operator=nobody)
        loop = cell.loop(3)
        loop.run()
        seeds += [u.episode.seed for u in cell.episodes()]
        observation = {
            key: np.zeros(a.shape, a.dtype) for key, a in PointMass().env_spec.observation.items()
        }
        actions.append(loop._policy.propose(observation, 0, 0)[0])
    assert len(set(seeds)) == 6
    assert not np.array_equal(*actions)
    assert derive_seed(0, Stream.TRAIN_LAYOUT, 0) not in seeds


@pytest.mark.parametrize("when", [0, 2])
def test_the_order_that_the_run_is_done_ends_it(cell, when):
    stop = Stop(cell.spool, 99)

    def hook():
        if len(cell.spool.waiting()) == when:
            write_record(cell.paths.orders, {"phase": "done"})

    stop.hook = hook
    cell.loop(stop=stop).run()
    assert cell.spool.waiting() == list(range(when))  # a running one would be finished


def test_the_orders_of_an_earlier_session_are_not_obeyed(cell):
    """A run that was done is resumed with a larger budget."""
    write_record(cell.paths.orders, {"phase": "done"})
    cell.loop(1).run()
    assert cell.spool.waiting() == [0]


def test_the_order_to_hold_is_obeyed_between_episodes(cell):
    stop, notes = Stop(cell.spool, 3), []

    def hook():
        notes.append(read_record(cell.paths.control).get("note"))
        if len(cell.spool.waiting()) == 1 and stop.asked < 200:
            write_record(cell.paths.orders, {"phase": "training", "hold": True, "lag": 12})
        elif stop.asked == 200:
            assert len(cell.env.resets) == 1
            write_record(cell.paths.orders, {"phase": "training", "hold": False})

    stop.hook = hook
    cell.loop(stop=stop).run()
    assert "the learner is 12 steps behind" in notes
    assert cell.spool.waiting() == [0, 1, 2]


def test_a_second_loop_on_the_same_spool_is_refused(cell):
    first = cell.loop(1)
    with pytest.raises(RunFolderError, match=f"in use by process {os.getpid()}"):
        RobotLoop(
            cell.config,
            Spool(cell.spool.folder, "arm"),
            PointMass(),
            make_operator(cell.config, PointMass()),
            FakeClock(),
            bool,
            evaluate=lambda *_: None,
        )
    first.run()
    cell.loop(2).run()


def test_a_rate_is_kept(tmp_path):
    cell = Cell(tmp_path, rate_hz=20.0)
    cell.publish(0)
    cell.loop(3).run()
    steps = sum(len(u.episode) for u in cell.episodes())
    assert cell.clock.now() == pytest.approx(steps / 20.0)
    assert read_record(cell.paths.loop)["hz"] == 20.0
    assert read_record(cell.paths.control)["late"] == 0


def test_without_a_rate_it_never_sleeps(cell):
    cell.loop(3).run()
    assert cell.clock.now() == 0.0
    assert not cell.paths.loop.exists()


def test_the_heartbeat_goes_on_in_an_episode(tmp_path):
    cell = Cell(tmp_path, rate_hz=2.0)
    cell.publish(0)
    stop, beats = Stop(cell.spool, 3), []

    def hook():
        beats.append((cell.clock.now(), read_record(cell.paths.control).get("beat", 0.0)))

    stop.hook = hook
    cell.loop(stop=stop).run()
    assert max(now - beat for now, beat in beats) <= BEAT_S + 0.5


# -- a full disk -----------------------------------------------------------------------------------


def test_no_episode_is_driven_without_room_for_it(cell, monkeypatch):
    usage = shutil.disk_usage(cell.spool.folder)
    free = [10**9, 10**9, 10**6]
    monkeypatch.setattr(
        spool_module.shutil, "disk_usage", lambda path: usage._replace(free=free.pop(0))
    )
    with pytest.raises(DataError, match=rf"disk of {cell.spool.folder} has 1 MB left.*Make room"):
        cell.loop(99).run()
    assert cell.spool.waiting() == [0, 1]
    assert len(cell.env.resets) == 2
    assert cell.env.closed


@pytest.mark.parametrize("room_again", [True, False])
def test_an_episode_in_hand_waits_for_room(cell, monkeypatch, caplog, room_again):
    stop = Stop(cell.spool, 3)
    full = [False]

    def on_write(step, path):
        if full[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def hook():
        if len(cell.spool.waiting()) == 1 and not full[0]:
            full[0] = stop.asked < 100
        if stop.asked > 100:
            full[0] = not room_again
            stop.episodes = 3 if room_again else 0

    monkeypatch.setattr(files, "on_write", on_write)
    stop.hook = hook
    loop = cell.loop(stop=stop)
    if room_again:
        loop.run()
        assert cell.spool.waiting() == [0, 1, 2]
        assert [u.episode.seed for u in cell.episodes()] == cell.env.resets[:3]
    else:
        with pytest.raises(DataError, match=r"is full .*: keeping episode 1 .*make room"):
            loop.run()
        assert cell.spool.waiting() == [0]
    assert len(cell.env.resets) == len(cell.spool.waiting()) + (not room_again)
    assert caplog.text.count("stands still") == 1


# -- what the learner orders -----------------------------------------------------------------------


def test_it_says_what_it_observes_and_does(cell):
    cell.loop(0).run()
    record = read_record(cell.paths.spec)
    assert record == {"spec": PointMass().env_spec.to_json(), "diagnostics": ["size"]}


def orders(cell, **fields):
    """Lies there as soon as the loop looks: it removes an earlier session's."""
    return lambda: write_record(cell.paths.orders, {"phase": "starting", **fields})


def test_demonstrations_are_recorded_before_there_are_parameters(tmp_path):
    cell = Cell(tmp_path)
    stop = Stop(cell.spool, 3)
    stop.hook = orders(cell, demonstrate={"count": 3, "seeds": []})
    cell.loop(stop=stop).run()
    demos = [u.episode for u in cell.episodes()]
    assert all(d.is_demo and d.success and d.frames["is_intervention"].all() for d in demos)
    seeds = [d.seed for d in demos]
    assert len(set(seeds)) == 3
    # After a restart it goes on with what is missing: one is stored, three wait.
    cell.spool.acknowledge(0)
    stop = Stop(cell.spool, 4)
    stop.hook = orders(cell, demonstrate={"count": 5, "seeds": seeds[:1]})
    cell.loop(stop=stop).run()
    assert len({u.episode.seed for u in cell.episodes()} | set(seeds)) == 5
    assert read_record(cell.paths.control)["steps"] == 0


def test_nobody_demonstrates_what_is_there(tmp_path):
    cell = Cell(tmp_path)
    stop = Stop(cell.spool, 1)

    def hook():
        write_record(cell.paths.orders, {"demonstrate": {"count": 2, "seeds": [1, 2]}})
        stop.episodes = 0 if stop.asked > 20 else 1

    stop.hook = hook
    cell.loop(stop=stop).run()
    assert cell.env.steps == 0


def test_it_evaluates_when_it_is_told_to_with_the_parameters_that_are_meant(cell):
    stop = Stop(cell.spool, 2)
    asked = {"id": "one", "version": 3}

    def hook():
        write_record(cell.paths.orders, {"phase": "evaluating", "hold": True, "evaluate": asked})
        if stop.asked == 20:
            assert cell.env.resets == []  # these parameters are not here yet
            cell.publish(3)
        if cell.paths.evaluation.exists():
            write_record(cell.paths.orders, {"phase": "training"})

    stop.hook = hook
    cell.loop(stop=stop).run()
    record = read_record(cell.paths.evaluation)
    assert (record["id"], record["version"]) == ("one", 3)
    assert record["metrics"]["episodes"] == 2
    layouts = [derive_seed(0, Stream.EVALUATION_LAYOUT, i) for i in range(2)]
    assert cell.env.resets[:2] == layouts
    assert [e.metrics["episodes"] for e in cell.recorder.of(Evaluated)] == [2]
    assert cell.spool.waiting() == [0, 1]  # nothing of it is uploaded, and it is made once
    assert cell.env.resets.count(layouts[0]) == 1


class Watching(SimulatedOperator):
    """A person who is told of everything, as in a run in one process."""

    live = True

    def on_event(self, event):
        self.__dict__.setdefault("events", []).append(event)


def test_a_person_hears_of_everything_and_may_take_their_time(cell, monkeypatch):
    """Demonstrations, too; and a robot that stands still for them is alive all the while."""
    person = make_operator(cell.config, PointMass())
    person.__class__ = Watching
    monkeypatch.setattr("tests.fakes.cell.make_operator", lambda config, env: person)
    asked, decide = [], person.decide
    beats = set()

    def slowly(view):
        asked.append(view)
        beats.add(read_record(cell.paths.control).get("beat"))
        if len(asked) < 200:  # four seconds at 50 looks a second
            return OperatorInput(engaged=False, pause=True)
        return decide(view)

    monkeypatch.setattr(person, "decide", slowly, raising=False)
    monkeypatch.setattr(person, "demonstrator", lambda: person, raising=False)
    stop = Stop(cell.spool, 3)
    stop.hook = orders(cell, demonstrate={"count": 1, "seeds": []})
    cell.loop(stop=stop).run()
    assert len(beats - {None}) >= 3
    kinds = [type(event) for event in person.events]
    assert kinds[:3] == [RunBegan, RobotWaits, EpisodeBegan]
    began = [e for e in person.events if isinstance(e, EpisodeBegan)]
    ended = [e for e in person.events if isinstance(e, EpisodeEnded)]
    assert [e.kind for e in began][-1] == "training"
    assert [(e.episode_id, e.kind) for e in began][: len(ended)] == [
        (e.episode_id, e.kind) for e in ended
    ]
    uploads = {u.episode.episode_id: u.episode for u in cell.episodes()}
    for event in began[: len(ended)]:
        assert uploads[event.episode_id].seed == event.seed
    assert kinds.count(DemonstrationStep) == len(uploads[0])
    assert person.events[0].folder == str(cell.spool.folder)
    assert person.events[0].simulated


def test_what_a_robot_waits_for_is_said(tmp_path):
    cell = Cell(tmp_path)
    stop = Stop(cell.spool, 1)
    stop.hook = lambda: cell.publish(0) if stop.asked == 30 else None
    cell.loop(stop=stop).run()
    reasons = [event.reason for event in cell.recorder.of(RobotWaits)]
    assert reasons == [
        "the robot gets ready",
        "it waits for the learner's policy",
        "this robot has stopped",
    ]
    assert [event.over for event in cell.recorder.of(RobotWaits)] == [False, False, True]


# -- subscribers and commands ----------------------------------------------------------------------


def test_subscribers_hear_what_they_hear_in_one_process(cell):
    cell.loop(3, env=Faulty({1})).run()
    steps = cell.recorder.of(StepTaken)
    uploads = cell.episodes()
    assert [e.env_step for e in steps] == list(range(1, len(steps) + 1))
    assert len(steps) == sum(len(u.episode) for u in uploads)
    assert [e.episode_id for e in cell.recorder.of(EpisodeFinished)] == [0, 2]
    (aside,) = cell.recorder.of(EpisodeQuarantined)
    assert (aside.episode_id, aside.reason) == (1, uploads[1].reason)
    for event, upload in zip(
        cell.recorder.of(EpisodeFinished), [uploads[0], uploads[2]], strict=True
    ):
        assert event.stats == upload.episode.stats()


class At:
    """Gives a command at a step of the session."""

    def __init__(self, step, command):
        self.step, self.command, self.queue = step, command, CommandQueue()

    def on_event(self, event):
        if isinstance(event, StepTaken) and event.env_step == self.step:
            self.queue.put(self.command)


def commanded(cell, step, command, episodes=3):
    at = At(step, command)
    loop = cell.loop(episodes, commands=at.queue)
    loop._subscribers.append(at)
    loop.run()


def test_what_a_person_discards_is_not_kept(cell):
    commanded(cell, 3, Command.DISCARD)
    assert cell.spool.waiting() == [1, 2, 3]
    assert [e.episode_id for e in cell.recorder.of(EpisodeDiscarded)] == [0]
    assert read_record(cell.paths.control)["discarded"] == 1


def test_a_person_says_success(cell):
    commanded(cell, 3, Command.SUCCESS)
    first = cell.episodes()[0].episode
    assert (len(first), first.success, first.frames["terminated"][-1]) == (3, True, True)


def test_a_person_stops_the_robot(cell):
    commanded(cell, 30, Command.STOP, episodes=99)
    assert 0 < len(cell.spool.waiting()) < 30
    assert cell.env.closed
