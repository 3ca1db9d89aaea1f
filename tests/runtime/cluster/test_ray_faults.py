"""Real processes of a real cluster die in any order, lines break, and no episode is lost or twice.

Minutes long: `make slow`. ``SILRI_FAULTS_TRIALS`` and ``SILRI_FAULTS_SEED`` choose how many deaths
and which; ``SILRI_FAULTS_OUT`` names a JSON file for the times.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from silri.runtime.cluster.paths import SpoolPaths, read_record
from silri.store.safety.quarantine import read_quarantine
from tests.fakes.wire import Wire
from tests.runtime.cluster.processes import (
    KINDS,
    LONG,
    TASK,
    Place,
    Progress,
    actor,
    assert_nothing_lost,
    learner,
    local_spools,
    report,
    stored,
    wait_until,
    waiting,
)

# Alone on the machine: a recovery starts up to seven processes, each of which loads JAX.
pytestmark = [pytest.mark.slow, pytest.mark.alone]

VICTIMS = ["supervisor", *KINDS]
# Each victim once; fifty deaths are in docs/results/runtime/faults.json.
TRIALS = int(os.environ.get("SILRI_FAULTS_TRIALS", str(len(VICTIMS))))
SEED = int(os.environ.get("SILRI_FAULTS_SEED", "0"))
ROBOTS = 2
DEADLINE = LONG  # for one recovery
STRAY = (None, None)  # no episode, and nothing wrong with it


@pytest.fixture
def place():
    made = Place()
    yield made
    made.clean()


def same_robot(process):
    """What tells the processes of one robot from the other's."""
    line = process.cmdline()
    return line[line.index("--robot") + 1] if "--robot" in line else ""


class Trials:
    """One run, and what happened to it.

    Attributes:
        times: seconds until every robot and the learner got on, by victim.
    """

    def __init__(self, place):
        self.place, self.run = place, place.path / "run"
        self.times = {}
        self.commands = [
            place.silri(
                *("train", "--runtime", "cluster", "--robots", ROBOTS, *TASK),
                *("--steps", 1_000_000, "--out", "run"),
            )
        ]
        self.progress = Progress(self.run)
        wait_until(lambda: self.progress.complete(ROBOTS), what=lambda: self.commands[-1].text)

    def resume(self):
        self.commands.append(
            self.place.silri("train", "--resume", "run", "--runtime", "cluster", "--robots", ROBOTS)
        )

    def nobody(self):
        """How long it takes to see progress when nothing happens."""
        self.progress.again()
        took = wait_until(lambda: self.progress.complete(ROBOTS), DEADLINE)
        self.times.setdefault("(nobody)", []).append(took)

    def kill(self, kind, draw):
        """One death, and the way back from it."""
        started = time.monotonic()
        if kind == "supervisor":
            self.commands[-1].kill()
            started = time.monotonic()
            old = {process.pid for process in self.place.processes()}
            self.resume()
            kind_back, robot = "learner", ""
        else:
            wait_until(lambda: self.place.members(kind), DEADLINE, what=lambda: f"no {kind}")
            found = sorted(self.place.members(kind), key=lambda process: process.pid)
            victim = found[draw % len(found)]
            old, robot, kind_back = {victim.pid}, same_robot(victim), kind
            victim.kill()
        self._wait(kind, kind_back, robot, old)
        self.times.setdefault(kind, []).append(time.monotonic() - started)

    def _wait(self, kind, kind_back, robot, old):
        def is_back():
            return any(
                p.pid not in old and same_robot(p) == robot for p in self.place.members(kind_back)
            )

        def story():
            return f"{kind} was killed\n{self.commands[-1].text[-4000:]}"

        wait_until(is_back, DEADLINE, what=story)
        self.progress.again()
        wait_until(lambda: self.progress.complete(ROBOTS), DEADLINE, what=story)
        assert self.commands[-1].process.poll() is None, story()

    def table(self):
        rows = {
            kind: {
                "deaths": len(times),
                "median_s": round(statistics.median(times), 1),
                "max_s": round(max(times), 1),
            }
            for kind, times in sorted(self.times.items())
        }
        lines = [f"{'killed':14} {'deaths':>6} {'median':>7} {'longest':>8}"]
        for kind, row in rows.items():
            lines.append(
                f"{kind:14} {row['deaths']:6} {row['median_s']:6.1f}s {row['max_s']:7.1f}s"
            )
        return rows, "\n".join(lines)


def test_random_deaths(place):
    trials = Trials(place)
    for _ in range(3):
        trials.nobody()
    random = np.random.default_rng(SEED)
    # Each kind equally often, in random order.
    kinds = [VICTIMS[index % len(VICTIMS)] for index in range(TRIALS)]
    random.shuffle(kinds)
    for number, kind in enumerate(kinds):
        try:
            trials.kill(kind, int(random.integers(1000)))
        except psutil.NoSuchProcess:  # it went between our looking and our kill
            pytest.fail(f"{kind} died by itself")
        report(f"{number + 1}/{TRIALS} {kind}: {trials.times[kind][-1]:.1f} s")

    trials.commands[-1].send(signal.SIGINT)
    trials.commands[-1].wait(130)
    assert place.nobody_within(10) == []
    assert_sound(place, trials)

    rows, text = trials.table()
    report(text)
    if where := os.environ.get("SILRI_FAULTS_OUT"):
        details = {"seed": SEED, "trials": TRIALS, "cores": os.cpu_count(), "recovery": rows}
        Path(where).write_text(json.dumps(details, indent=2) + "\n")


def assert_sound(place, trials):
    """Every file of the run has its checksum, every episode is there once, and it goes on."""
    run = trials.run
    place.silri("data", "check", "run").wait()
    spools = local_spools(run, ROBOTS)
    assert_nothing_lost(run, spools)
    # A hub that dies within a commit leaves frames without a row; its robot sent the episode again.
    assert [entry for entry in read_quarantine(run / "quarantine") if entry != STRAY] == []
    numbers = stored(run)
    assert len(numbers) == ROBOTS
    steps = sum(read_record(SpoolPaths(spool).control)["steps"] for spool in spools.values())
    assert steps > 0
    for command in trials.commands:
        assert "Traceback" not in command.text, command.text
        assert "is not used" not in command.text, command.text  # of a damaged checkpoint
    # To the end: what is stored is more than it asks for.
    done = json.loads((run / "live/progress.json").read_text())["env_steps"]
    end = place.silri(
        *("train", "--resume", "run", "--runtime", "cluster", "--robots", ROBOTS),
        *("--steps", done + 50),
    )
    end.wait()
    summary = json.loads((run / "summary.json").read_text())
    assert summary["completed"] is True
    assert summary["env_steps"] >= done + 50
    place.silri("data", "check", "run").wait()
    assert_nothing_lost(run, spools)
    assert place.nobody_within(10) == []


def test_a_line_that_is_cut(place):
    """Silence, resets, nobody who listens: the robot drives on and nothing is lost."""
    command, address = learner(place, "--steps", 1_000_000)
    command.says("robots can connect")
    wire, run, spool = Wire(address), place.path / "run", place.path / "spool-arm"
    robot = actor(place, wire.address, "arm")
    progress = Progress(run)
    wait_until(lambda: "arm" in progress.look().robots, what=lambda: robot.text)
    loop = read_record(SpoolPaths(spool).control)["pid"]

    def back():
        progress.again()
        took = wait_until(lambda: "arm" in progress.look().robots, what=lambda: robot.text)
        return took, took + wait_until(lambda: len(waiting(spool)) < 3)

    before = read_record(SpoolPaths(spool).control)["episodes"]
    wire.cut()
    time.sleep(15)
    assert read_record(SpoolPaths(spool).control)["episodes"] > before + 5
    assert len(waiting(spool)) > 5
    wire.reset()
    wire.mend()
    report(
        "after 15 s of silence and resets: stored again after {:.1f} s, all of it {:.1f} s".format(
            *back()
        )
    )

    wire.close()
    before = len(waiting(spool))
    wait_until(lambda: len(waiting(spool)) > before + 3)
    wire = Wire(address, port=wire.port)
    report("after nobody listened: stored again after {:.1f} s, all of it {:.1f} s".format(*back()))

    wire.cut()
    time.sleep(3)
    wire.mend()  # a short silence is no end of a line
    report("after 3 s of silence: stored again after {:.1f} s, all of it {:.1f} s".format(*back()))

    wire.cut()  # and no word afterwards either: the old connections stay as they are
    before = read_record(SpoolPaths(spool).control)["episodes"]
    time.sleep(40)
    assert read_record(SpoolPaths(spool).control)["episodes"] > before + 20
    wire.mend()
    report("after 40 s of silence: stored again after {:.1f} s, all of it {:.1f} s".format(*back()))

    assert read_record(SpoolPaths(spool).control)["pid"] == loop
    for each in (robot, command):
        each.send(signal.SIGINT)
        each.wait(130)
    wire.close()
    assert_nothing_lost(run, {"arm": spool})
    assert len(robot.text.splitlines()) < 20, robot.text
    report(robot.text)
    assert place.nobody_within(10) == []
