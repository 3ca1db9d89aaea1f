"""A real hub on a real store behind a wire that a test cuts: no Ray, no sockets, no sleep."""

from __future__ import annotations

import dataclasses
import json

from silri.core.clock import FakeClock
from silri.runtime.cluster.hub import Hub
from silri.runtime.cluster.parameters import Parameters, pack, write_parameters
from silri.runtime.cluster.paths import LivePaths, SpoolPaths, write_record
from silri.runtime.cluster.spool import Spool
from silri.runtime.cluster.uplink import Disconnected, Uplink
from silri.store.safety import files
from tests.data.episodes import assert_equal
from tests.store.scenarios import DIAGNOSTICS, SPEC, episode

FPS = 10.0


class Killed(BaseException):
    """SIGKILL of a process that shares ours: nothing of the program's may handle it."""


def write_setup(run, **fields):
    """``live/setup.json`` as ``prepare_run`` writes it."""
    live = LivePaths(run)
    files.make_dir(live.folder)
    setup = {
        "run": {"name": "any"},
        "spec": SPEC.to_json(),
        "diagnostics": list(DIAGNOSTICS),
        "max_lag": 0,
        "demos": 0,
        "dataset": None,
        "rewards": None,
        "run_id": "run-1",
    }
    write_record(live.setup, setup | fields)
    return live


def publish(live, version, **progress):
    """What a learner lays down."""
    write_parameters(live.policy, pack(Parameters(version, f"arrays {version}".encode())))
    write_record(live.progress, {"version": version, "phase": "training"} | progress)


class Site:
    """The learner's machine: a hub that can be killed, started and cut off.

    Attributes:
        cut: None; ``before`` or ``after`` the hub has done what a call asks, the line breaks.
        only: the methods that ``cut`` concerns; None: all.
        calls: the method of every call that came.
    """

    def __init__(self, run, clock=None, **setup):
        self.run, self.clock = run, clock or FakeClock()
        self.live = write_setup(run, **setup)
        self.hub = None
        self.cut, self.only, self.calls = None, None, []
        self.lines = 0
        self.start()

    def start(self):
        self.hub = Hub(self.run, self.clock)

    def kill(self):
        """What dies with a process: all but the disk, and the kernel's lock."""
        if self.hub is not None:
            self.hub.store.close()
            self.hub = None

    def connect(self):
        if self.hub is None or self.cut == "before":
            raise Disconnected("nobody listens")
        self.lines += 1
        return Line(self, self.hub)

    def episodes(self):
        """Origins in the store, in order."""
        return [row.origin for row in self.hub.store.rows]


class Line:
    """A :class:`silri.runtime.cluster.uplink.Connection`; messages are copied as by a wire."""

    def __init__(self, site, hub):
        self._site, self._hub = site, hub
        self.closed = False

    def call(self, method, *arguments, timeout_s):
        assert timeout_s > 0
        site = self._site
        concerned = site.only is None or method in site.only
        if self.closed or self._hub is not site.hub or (site.cut == "before" and concerned):
            raise Disconnected("the line broke")
        site.calls.append(method)
        try:
            answer = getattr(self._hub, method)(*map(_wire, arguments))
        except Killed:
            site.kill()
            raise Disconnected("the hub died") from None
        if site.cut == "after" and concerned:
            raise Disconnected("the line broke before the answer came")
        return _wire(answer)

    def close(self):
        self.closed = True


def _wire(value):
    return value if isinstance(value, bytes | None) else json.loads(json.dumps(value))


class Robot:
    """A spool that a test fills, and its uplink, which can be killed and started again."""

    def __init__(self, folder, site, name="arm", clock=None):
        self.folder, self.site, self.name = folder, site, name
        self.clock = clock or site.clock
        self.spool = Spool(folder, name)
        told = {"spec": SPEC.to_json(), "diagnostics": list(DIAGNOSTICS)}
        write_record(SpoolPaths(folder).spec, told)
        self.sent = []  # origins that were ever added
        self.start()

    def start(self):
        self.uplink = Uplink(Spool(self.folder, self.name), self.site.connect, self.clock)

    def drive(self, count=1, reason="", make=episode):
        for _ in range(count):
            number = self.spool.next_number()
            made = dataclasses.replace(make(number), is_demo=False)
            self.spool.add(number, made, reason, FPS)
            self.sent.append(self.spool.origin(number))

    def step(self, times=1, seconds=0.1):
        for _ in range(times):
            self.uplink.step()
            self.clock.advance(seconds)

    def until_empty(self, limit=400):
        for _ in range(limit):
            if not self.spool.waiting():
                return
            self.step()
        raise AssertionError(f"{len(self.spool.waiting())} episodes still wait")


class AtWrite:
    """Dies at write call ``number`` (from 1) of those in ``folder``; 0 only counts them."""

    def __init__(self, number, folder):
        self.number, self.folder, self.calls = number, folder, 0

    def __call__(self, step, path):
        if path.is_relative_to(self.folder):
            self.calls += 1
            if self.calls == self.number:
                files.on_write = None  # a dead process writes no more; its successor does
                raise Killed


def assert_delivered(site, *robots):
    """Exactly once, in each robot's order, bit for bit, and nothing waits."""
    origins = site.episodes()
    assert len(origins) == len(set(origins))
    for robot in robots:
        assert [o for o in origins if o.startswith(f"{robot.name}/")] == robot.sent
        assert robot.spool.waiting() == []
    for index, row in enumerate(site.hub.store.rows):
        expected = episode(int(row.origin.rpartition(":")[2]))
        stored = site.hub.store.read(index)
        assert_equal(
            stored,
            dataclasses.replace(
                expected, origin=row.origin, is_demo=False, episode_id=row.episode_id
            ),
        )
