from __future__ import annotations

import os
import subprocess
import sys

import pytest

from silri.runtime.pace import priority
from silri.runtime.pace.priority import Report, control_core, favour_control, yield_to_control

linux = pytest.mark.skipif(sys.platform != "linux", reason="affinity and FIFO are Linux's")


class System:
    """Stands in for the system's calls: remembers what was asked, refuses what it is told to."""

    def __init__(self, monkeypatch, refuse=(), cores=(0, 1, 2, 3), nice=0):
        self.asked, self.refuse = [], refuse
        names = ("sched_setaffinity", "sched_setscheduler", "setpriority")
        for name in names:
            if hasattr(os, name):
                monkeypatch.setattr(os, name, self._call(name))
        monkeypatch.setattr(os, "getpriority", lambda *_: nice)
        monkeypatch.setattr(priority, "_threads", lambda: [41, 42])
        if sys.platform == "linux":
            import resource
            import threading

            monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(cores))
            monkeypatch.setattr(resource, "setrlimit", self._call("setrlimit"))
            monkeypatch.setattr(threading, "get_native_id", lambda: 41)
            monkeypatch.setattr(priority.signal, "signal", self._call("signal"))

    def _call(self, name):
        def call(*arguments):
            if name in self.refuse and self._privileged(name, arguments):
                raise PermissionError(1, "Operation not permitted")
            self.asked.append((name, *arguments))

        return call

    @staticmethod
    def _privileged(name, arguments):
        return not (name == "sched_setscheduler" and arguments[1] == os.SCHED_OTHER)

    def of(self, name):
        return [rest for called, *rest in self.asked if called == name]


@linux
def test_control_gets_all_it_asks_for(monkeypatch):
    system = System(monkeypatch)
    report = favour_control(3, fifo=True)
    assert report == Report(("core 3", "SCHED_FIFO 10"), ())
    assert system.of("sched_setaffinity") == [[41, {3}], [42, {3}]]
    levels = [
        (thread, policy, param.sched_priority)
        for thread, policy, param in system.of("sched_setscheduler")
    ]
    # The loop's own thread comes before its helpers.
    assert levels == [(41, os.SCHED_FIFO, 10), (42, os.SCHED_FIFO, 9)]
    assert not system.of("setpriority")


@linux
def test_the_guard_is_in_place_before_fifo_is(monkeypatch):
    system = System(monkeypatch)
    favour_control(3, fifo=True)
    order = [name for name, *_ in system.asked]
    assert order.index("signal") < order.index("setrlimit") < order.index("sched_setscheduler")
    ((_, (soft, _)),) = system.of("setrlimit")
    assert soft == 1_000_000  # microseconds


@linux
def test_at_the_limit_fifo_is_given_back(monkeypatch):
    system = System(monkeypatch)
    favour_control(3, fifo=True)
    ((number, handler),) = system.of("signal")
    assert number == priority.signal.SIGXCPU
    system.asked.clear()
    handler(number, None)
    assert [rest[:2] for rest in system.of("sched_setscheduler")] == [
        [41, os.SCHED_OTHER],
        [42, os.SCHED_OTHER],
    ]
    assert system.of("setpriority") == [[0, 41, -10], [0, 42, -10]]


@linux
def test_without_fifo_there_is_niceness(monkeypatch):
    system = System(monkeypatch, refuse=("sched_setscheduler",))
    report = favour_control(None, fifo=True)
    assert report.obtained == ("nice -10",)
    assert [line.partition(":")[0] for line in report.refused] == [
        "a core of its own",
        "SCHED_FIFO 10",
    ]
    assert system.of("setpriority") == [[0, 41, -10], [0, 42, -10]]


@linux
def test_without_any_permission_it_says_so_and_goes_on(monkeypatch):
    System(monkeypatch, refuse=("sched_setscheduler", "setpriority", "sched_setaffinity"))
    report = favour_control(3, fifo=True)
    assert not report.obtained
    assert str(report).startswith("no change (not: core 3: ")
    assert str(report).count("Operation not permitted") == 3


@linux
def test_only_the_main_thread_can_take_fifo(monkeypatch):
    system = System(monkeypatch)

    def elsewhere(*_):
        raise ValueError("signal only works in main thread of the main interpreter")

    monkeypatch.setattr(priority.signal, "signal", elsewhere)
    report = favour_control(3, fifo=True)
    assert "SCHED_FIFO 10: signal only works in main thread" in report.refused[0]
    assert not system.of("sched_setscheduler")


@linux
@pytest.mark.parametrize(
    ("allowed", "others"),
    [
        ({0, 1, 2, 3}, {0, 1, 2}),
        ({1, 3}, {1}),  # what `taskset` allows is kept to
        ({3}, {0, 1, 2}),  # a child of the pinned control process
    ],
)
def test_the_learner_gets_the_other_cores(monkeypatch, allowed, others):
    system = System(monkeypatch, cores=allowed)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    report = yield_to_control(3)
    assert system.of("sched_setaffinity") == [[41, others], [42, others]]
    assert system.of("setpriority") == [[0, 41, 10], [0, 42, 10]]
    assert {policy for _, policy, _ in system.of("sched_setscheduler")} == {os.SCHED_OTHER}
    assert report.obtained == (f"core {', '.join(map(str, sorted(others)))}", "nice 10")


@linux
def test_with_one_core_the_learner_is_only_nice(monkeypatch):
    system = System(monkeypatch, cores={0})
    assert control_core() is None
    assert yield_to_control(None).obtained == ("nice 10",)
    assert not system.of("sched_setaffinity")


@linux
def test_who_is_nicer_already_stays_so(monkeypatch):
    system = System(monkeypatch, nice=15)
    assert "nice 15" in yield_to_control(3).obtained
    assert system.of("setpriority") == [[0, 41, 15], [0, 42, 15]]


@linux
def test_the_last_core_is_kept(monkeypatch):
    System(monkeypatch, cores={1, 2, 5})
    assert control_core() == 5


@linux
def test_a_thread_that_ends_meanwhile_is_no_failure(monkeypatch):
    system = System(monkeypatch)

    def gone(thread, cores):
        if thread == 41:
            raise ProcessLookupError
        system.asked.append(("sched_setaffinity", thread, cores))

    monkeypatch.setattr(os, "sched_setaffinity", gone)
    assert "core 3" in favour_control(3).obtained
    assert system.of("sched_setaffinity") == [[42, {3}]]


def test_on_other_systems_there_is_niceness(monkeypatch):
    monkeypatch.setattr(priority.sys, "platform", "darwin")
    asked = []
    monkeypatch.setattr(os, "setpriority", lambda *arguments: asked.append(arguments))
    monkeypatch.setattr(os, "getpriority", lambda *_: 0)
    assert control_core() is None
    assert favour_control(None, fifo=True).obtained == ("nice -10",)
    assert yield_to_control(None) == Report(("nice 10",), ())
    assert asked == [(os.PRIO_PROCESS, 0, -10), (os.PRIO_PROCESS, 0, 10)]


def test_a_real_process_becomes_nicer():
    """In a process of its own: niceness cannot be taken back without permission."""
    code = """
import os
from silri.runtime.pace.priority import control_core, yield_to_control
core = control_core()
report = yield_to_control(core)
assert not report.refused, report
assert os.getpriority(os.PRIO_PROCESS, 0) >= 10
assert core is None or core not in os.sched_getaffinity(0)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_real_process_gets_what_its_report_says():
    code = """
import os, sys
from silri.runtime.pace.priority import control_core, favour_control
core = control_core()
report = favour_control(core, fifo=True)
fifo = "SCHED_FIFO 10" in report.obtained
if sys.platform == "linux":
    assert fifo == (os.sched_getscheduler(0) == os.SCHED_FIFO), report
    assert core is None or os.sched_getaffinity(0) == {core}
assert ("nice -10" in report.obtained) <= (os.getpriority(os.PRIO_PROCESS, 0) == -10), report
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@linux
def test_a_real_process_that_never_blocks_loses_fifo():
    code = """
import os, time
from silri.runtime.pace import priority
priority.FIFO_LIMIT_S = 0.05
if "SCHED_FIFO 10" in priority.favour_control(priority.control_core(), fifo=True).obtained:
    while os.sched_getscheduler(0) == os.SCHED_FIFO:
        assert time.process_time() < 20, "nobody took it away"
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_child_s_libraries_get_their_threads():
    limits = priority.limit_threads(2)
    assert set(limits.values()) == {"2"}
    assert {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC"} <= set(limits)
