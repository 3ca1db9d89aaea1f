"""Real processes, a fake clock: who dies is started again, who hangs is killed, nobody is left."""

from __future__ import annotations

import contextlib
import os
import signal
import sys

import pytest

from silri.core.clock import FakeClock
from silri.runtime.cluster import supervisor as module
from silri.runtime.cluster.paths import write_record
from silri.runtime.cluster.supervisor import Child, Supervisor

FOREVER = "import signal; signal.pause()"


def python(code):
    return (sys.executable, "-S", "-E", "-c", code)


class Team:
    """A supervisor, its clock, and processes that a test can wait for."""

    def __init__(self, *children):
        self.clock = FakeClock()
        self.supervisor = Supervisor(children, self.clock)
        self.seen = set()

    def poll(self, seconds=0.0):
        self.clock.advance(seconds)
        messages = self.supervisor.poll()
        self.seen |= set(self.supervisor.pids().values())
        return messages

    def ended(self):
        """Wait until every process that runs is over, then look at them."""
        for running in self.supervisor._running:
            if running.process is not None:
                running.process.wait(timeout=60)
        return self.poll()

    def starts(self):
        return list(self.supervisor.starts().values())


@pytest.fixture
def team():
    """Makes teams; nobody of them is left when the test is over."""
    teams = []

    def make(*children):
        teams.append(Team(*children))
        return teams[-1]

    yield make
    for each in teams:
        for pid in each.supervisor.pids().values():
            os.kill(pid, signal.SIGKILL)
        each.supervisor.stop()
        for pid in each.seen:
            with pytest.raises(ChildProcessError):  # neither running nor a zombie
                os.waitpid(pid, os.WNOHANG)


def test_all_are_started_and_left_alone(team):
    both = team(Child("a", python(FOREVER), None), Child("b", python(FOREVER), None))
    assert both.supervisor.pids() == {}
    assert both.poll() == []
    assert list(both.supervisor.pids()) == ["a", "b"]
    for _ in range(100):
        assert both.poll(10.0) == []
    assert both.starts() == [1, 1]


def test_who_crashes_is_started_again_after_a_while(team):
    one = team(Child("a", python("raise SystemExit(3)"), None))
    one.poll()
    assert one.ended() == ["a failed (exit 3); it is started again"]
    one.poll(module.FIRST_WAIT_S - 0.01)
    assert one.starts() == [1]
    one.poll(0.02)
    assert one.starts() == [2]


def test_the_back_off_grows_to_a_limit_and_then_it_gives_up(team, tmp_path):
    log = tmp_path / "logs" / "a.log"
    talks = "for i in range(30): print('line', i)\nraise SystemExit(1)"
    one = team(Child("a", python(talks), log))
    one.poll()
    waits = []
    while not one.supervisor.failed:
        one.ended()
        before = one.clock.now()
        while not one.supervisor.failed and not one.supervisor.pids():
            one.poll(0.25)
        waits.append(one.clock.now() - before)
    first, longest = module.FIRST_WAIT_S, module.LONGEST_WAIT_S
    assert waits[:-1] == [min(first * 2**n, longest) for n in range(module.CRASHES - 1)]
    assert one.starts() == [module.CRASHES]
    code, text = one.supervisor.failed
    assert code == 1
    assert text.startswith(f"a failed (exit 1)\nthe end of {log}:\n")
    assert text.endswith("  line 29")
    assert len(text.splitlines()) == 2 + module.TAIL
    assert one.poll(100) == []
    assert one.starts() == [module.CRASHES]


def test_who_ran_for_long_is_started_again_at_once_and_his_crashes_forgotten(team):
    one = team(Child("a", python(FOREVER), None))
    one.poll()
    for _ in range(2 * module.CRASHES):
        one.poll(module.STEADY_S + 1)
        os.kill(one.supervisor.pids()["a"], signal.SIGTERM)
        assert one.ended() == ["a was killed (SIGTERM); it is started again"]
        one.poll()
        assert one.supervisor.pids()
    assert one.supervisor.failed is None


def test_a_usage_error_is_final(team):
    both = team(
        Child("a", python(f"raise SystemExit({module.USAGE})"), None),
        Child("b", python(FOREVER), None),
    )
    both.poll()
    both.supervisor._running[0].process.wait(timeout=60)
    assert both.poll() == []
    assert both.supervisor.failed == (module.USAGE, "a failed (exit 2)\n")
    both.poll(100)
    assert both.starts() == [1, 1]


def test_who_is_done_is_not_started_again(team):
    both = team(Child("a", python(""), None), Child("b", python("raise SystemExit(1)"), None))
    both.poll()
    both.ended()
    both.poll(5)
    assert both.starts() == [1, 2]
    assert not both.supervisor.finished


def test_when_the_leader_is_done_everything_is(team):
    both = team(
        Child("a", python(""), None, leads=True), Child("b", python("raise SystemExit(1)"), None)
    )
    both.poll()
    both.ended()
    assert both.supervisor.finished
    both.poll(100)
    assert both.starts() == [1, 1]
    assert both.supervisor.failed is None


def test_a_leader_that_crashes_is_not_done(team):
    one = team(Child("a", python("raise SystemExit(1)"), None, leads=True))
    one.poll()
    one.ended()
    assert not one.supervisor.finished


# -- heartbeats ------------------------------------------------------------------------------------


@pytest.fixture
def beating(team, tmp_path):
    path = tmp_path / "beat.json"
    one = team(Child("a", python(FOREVER), None, heartbeat=path, patience_s=5.0))
    one.poll()
    return one, lambda beat: write_record(path, {"beat": beat})


def test_who_shows_no_sign_of_life_is_killed_and_started_again(beating):
    one, beat = beating
    for number in range(20):
        beat(number)
        assert one.poll(4.0) == []
    assert one.poll(4.9) == []
    pid = one.supervisor.pids()["a"]
    assert one.poll(0.2) == ["a shows no sign of life for 5 s; it is killed"]
    assert one.ended() == ["a was killed (SIGKILL); it is started again"]
    one.poll(1)
    assert one.supervisor.pids()["a"] != pid
    assert one.poll(4.9) == []  # the old beat is no sign of the new one, and no reason to kill it
    assert one.poll(1.0) == ["a shows no sign of life for 6 s; it is killed"]


def test_without_any_heartbeat_it_is_killed_too(beating):
    one, _ = beating
    assert one.poll(5.1) == ["a shows no sign of life for 5 s; it is killed"]


def test_who_was_well_is_started_again_at_once(beating):
    one, beat = beating
    for number in range(3):
        beat(number)
        one.poll(1.0)
    os.kill(one.supervisor.pids()["a"], signal.SIGKILL)
    one.ended()
    one.poll()
    assert one.starts() == [2]


def test_one_sign_of_life_is_not_being_well(beating):
    """Its last words count as one."""
    one, beat = beating
    beat(1)
    one.poll(1.0)
    os.kill(one.supervisor.pids()["a"], signal.SIGKILL)
    one.ended()
    one.poll()
    assert one.starts() == [1]
    one.poll(module.FIRST_WAIT_S)
    assert one.starts() == [2]


# -- stopping --------------------------------------------------------------------------------------


def ready(tmp_path, code):
    """A child that runs ``code`` when it has told us that it is ready, and how to wait for that."""
    fifo = tmp_path / "ready"
    os.mkfifo(fifo)
    said = f"open({str(fifo)!r}, 'w').close()"
    return code.replace("READY", said), lambda: fifo.open().close()


def test_stop_asks_politely(team, tmp_path):
    code, wait = ready(
        tmp_path,
        "import signal, sys\n"
        f"signal.signal(signal.SIGTERM, lambda *_: (open({str(tmp_path / 'bye')!r}, 'w'), "
        "sys.exit(0)))\nREADY\nsignal.pause()",
    )
    one = team(Child("a", python(code), None, grace_s=60.0))
    one.poll()
    wait()
    one.supervisor.stop()
    assert (tmp_path / "bye").exists()
    assert one.supervisor.pids() == {}
    one.poll(100)
    assert one.starts() == [1]


def test_stop_insists(team, tmp_path):
    code, wait = ready(
        tmp_path,
        "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nREADY\n"
        "while True: signal.pause()",
    )
    one = team(Child("a", python(code), None, grace_s=0.05))
    one.poll()
    wait()
    one.supervisor.stop()
    assert one.supervisor.pids() == {}


def test_some_are_stopped_before_others(team):
    both = team(Child("robot", python(FOREVER), None), Child("learner", python(FOREVER), None))
    both.poll()
    both.supervisor.stop(lambda name: name == "robot")
    both.poll(100)
    assert list(both.supervisor.pids()) == ["learner"]


def test_a_person_who_says_stop_means_everybody(team):
    both = team(Child("robot", python("raise SystemExit(100)"), None), Child("b", ["true"], None))
    both.poll()
    assert both.ended() == ["robot was told to stop"]
    assert both.supervisor.over
    assert both.supervisor.stopped
    assert both.supervisor.failed is None
    both.poll(100)
    assert both.starts()[0] == 1


def test_who_waits_to_be_started_again_is_not_when_stopped(team):
    one = team(Child("a", python("raise SystemExit(1)"), None))
    one.poll()
    one.ended()
    one.supervisor.stop()
    one.poll(100)
    assert one.starts() == [1]


def test_stop_of_who_is_dead_already(team):
    one = team(Child("a", python(FOREVER), None))
    one.poll()
    os.kill(one.supervisor.pids()["a"], signal.SIGKILL)
    one.supervisor._running[0].process.wait()
    one.supervisor.stop()
    one.supervisor.stop()


def test_ctrl_c_is_for_the_supervisor_alone(team):
    """Children have a session of their own, so a terminal's signal does not reach them."""
    one = team(Child("a", python(FOREVER), None))
    one.poll()
    pid = one.supervisor.pids()["a"]
    assert os.getsid(pid) == pid != os.getsid(0)


def test_a_child_gets_its_variables_and_ours(team, tmp_path, monkeypatch):
    monkeypatch.setenv("OURS", "1")
    log = tmp_path / "log"
    code = "import os; print(os.environ['OURS'], os.environ['ITS'])"
    one = team(Child("a", python(code), log, environment={"ITS": "2"}))
    one.poll()
    one.ended()
    assert log.read_text() == "1 2\n"
    with contextlib.suppress(KeyError):
        assert os.environ["ITS"] is None
