"""Real clusters for tests: commands in processes of their own, and everybody they start.

Nothing survives a test, whatever happens: each process of a cluster has a file in the test's
folder open (its output, Ray's logs), and by that it is found.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from silri.runtime.cluster.paths import LivePaths, read_record
from silri.store.dataset import read_dataset
from silri.store.follow import Follower
from tests.fakes.envs.gym_slow import IDENTIFIER

ROOT = Path(__file__).resolve().parents[3]
LONG = 300.0  # machines are shared: a test that hangs fails, one that is slow does not
TASK = [
    *("--env", IDENTIFIER, "--env.gripper-dims", "3"),
    *("--operator", "steady", "--operator.gate.rescue-steps", "8"),
    *("--operator.gate.probability", "0.3", "--operator.gate.hold", "2", "4"),
    *("--agent.trunk.hidden", "16", "16", "--agent.batch-size", "8"),
    *("--agent.stages.0.updates", "20", "--data.demos", "2"),
    *("--data.online-capacity", "50000", "--data.guidance-capacity", "50000"),
    *("--evaluation.every", "1000000", "--evaluation.episodes", "2"),
    *("--runtime.checkpoint-every", "100", "--runtime.log-every", "1000"),
    *("--runtime.publish-every", "20", "--runtime.tensorboard", "False"),
]
# What a process is called on its command line.
KINDS = {
    "learner": "silri.cli.process learn",
    "link": "silri.cli.process link",
    "control loop": "silri.cli.process control",
    "uplink": "silri.cli.process uplink",
    "hub": "ray::Hub",
    "gcs": "gcs_server",
    "raylet": "raylet/raylet",
    "proxy": "--mode=proxy",
}


class Place:
    """A folder with a home, runs and robots of a test.

    Attributes:
        path: of the folder. Short: Ray has sockets in it.
    """

    def __init__(self):
        self.path = Path(tempfile.mkdtemp(prefix="silri-", dir="/tmp"))
        (self.path / "home").mkdir()
        (self.path / "ray").mkdir()
        self.environment = {
            **{
                k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "JAX_COMPILATION"))
            },
            "HOME": str(self.path / "home"),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]),
            "RAY_TMPDIR": str(self.path / "ray"),
            # Not the suite's own: who is killed here may be writing an entry.
            "SILRI_COMPILATION_CACHE": os.environ["JAX_COMPILATION_CACHE_DIR"] + "-of-the-killed",
        }
        self._commands = []

    def silri(self, *arguments, **environment):
        """Start a command."""
        log = f"log-{len(self._commands)}.txt"
        self._commands.append(Command(self, [str(a) for a in arguments], environment, log))
        return self._commands[-1]

    def processes(self):
        """Everybody who belongs to this place, and is no zombie."""
        found = []
        for pid in psutil.pids():
            with contextlib.suppress(psutil.Error, OSError):
                if pid != os.getpid() and self._is_ours(pid):
                    found.append(psutil.Process(pid))
        return found

    def _is_ours(self, pid):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if str(descriptor.readlink()).startswith(f"{self.path}/"):
                    return True
        return False

    def members(self, kind):
        """Processes of one of :data:`KINDS`."""
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                line = " ".join(process.cmdline())
                # The supervisor of Ray's processes has their names among its arguments.
                if KINDS[kind] in line and "cluster.guard" not in line:
                    found.append(process)
        return found

    def listening(self):
        """Addresses that anybody here accepts connections at."""
        found = set()
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                for each in process.net_connections("inet"):
                    if each.status == psutil.CONN_LISTEN:
                        ip = each.laddr.ip.removeprefix("::ffff:")  # IPv4 on an IPv6 socket
                        found.add((ip, each.laddr.port, " ".join(process.cmdline())))
        return found

    def nobody_within(self, seconds):
        """Wait for everybody to be gone; what is left."""
        wait_until(lambda: not self.processes(), seconds, must=False)
        return [" ".join(p.cmdline()) for p in self.processes() if p.is_running()]

    def clean(self):
        """Kill whoever is left, and remove the folder."""
        for _ in range(5):
            for process in self.processes():
                with contextlib.suppress(psutil.Error):
                    process.kill()
            if not self.processes():
                break
            time.sleep(0.2)
        for command in self._commands:
            command.process.wait()
        shutil.rmtree(self.path, ignore_errors=True)


def free_ports(count=2):
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def learner(place, *more, **environment):
    """``silri learner``, and the address for actors."""
    port, ray_port = free_ports()
    command = place.silri(
        *("learner", *TASK, "--out", "run", "--port", port, "--ray-port", ray_port, *more),
        **environment,
    )
    return command, f"127.0.0.1:{port}"


def actor(place, address, name, *more):
    spool = place.path / f"spool-{name}"
    return place.silri("actor", "--address", address, "--name", name, "--spool", spool, *more)


class Command:
    """A command that runs; its output goes to a file."""

    def __init__(self, place, arguments, environment, log):
        self.log = place.path / log
        self._arguments = arguments
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "silri.cli.main", *arguments],
                cwd=place.path,
                env={**place.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def text(self):
        return self.log.read_text(errors="replace")

    def says(self, words, seconds=LONG):
        """Wait for ``words`` in the output; how long it took."""
        return wait_until(
            lambda: words in self.text, seconds, what=lambda: f"{words!r} in:\n{self.text}"
        )

    def wait(self, code=0, seconds=LONG):
        """Wait for its end, which must be ``code``; how long it took."""
        started = time.monotonic()
        try:
            found = self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            found = None
        assert found == code, f"{self._arguments} ended with {found}, not {code}:\n{self.text}"
        assert "Traceback" not in self.text, self.text
        return time.monotonic() - started

    def send(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()


def wait_until(condition, seconds=LONG, *, what=lambda: "nothing happened", must=True):
    """Poll; how long it took."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > seconds:
            assert not must, f"after {seconds:.0f} s: {what()}"
            break
        time.sleep(0.05)
    return time.monotonic() - started


def report(line):
    """For a person: pytest shows it with -s."""
    sys.stderr.write(f"\n{line}\n")


def robot_of(origin):
    return origin.partition("/")[0]


class Progress:
    """What is new in a run since this was made."""

    def __init__(self, run):
        self._run = run
        self._follower = Follower(run / "episodes")
        for _ in self._follower.new():
            pass
        self.robots = set()
        self._learner = None
        self.learned = False

    def look(self):
        """Robots that stored an episode of training, and whether one learner got on."""
        self.robots |= {robot_of(e.origin) for e in self._follower.new() if not e.is_demo}
        record = read_record(LivePaths(self._run).progress)
        if not record or not psutil.pid_exists(record["pid"]):
            return self
        before, self._learner = self._learner, record
        if before is not None and before["pid"] == record["pid"]:
            self.learned |= record["learnt_steps"] > before["learnt_steps"]
        return self

    def again(self):
        """Start anew, without reading again what is known."""
        self.look()
        self.robots, self._learner, self.learned = set(), None, False

    def complete(self, robots):
        """Whether each of so many robots and the learner got on."""
        self.look()
        return len(self.robots) >= robots and self.learned


def stored(run):
    """Numbers of the stored episodes, by spool; each origin is there once."""
    origins = [e.origin for e in read_dataset(run / "episodes")]
    assert len(origins) == len(set(origins))
    numbers = {}
    for origin in origins:
        spool, _, number = origin.rpartition(":")
        numbers.setdefault(spool, []).append(int(number))
    return numbers


def assert_nothing_lost(run, spools, quarantined=()):
    """Each number up to the highest is stored, set aside or waits; numbers of a spool ascend."""
    found = stored(run)
    for name, folder in spools.items():
        spool = f"{name}/{json.loads((folder / 'identity.json').read_text())['spool']}"
        numbers = found.pop(spool, [])
        assert numbers == sorted(numbers)
        aside = [int(o.rpartition(":")[2]) for o in quarantined if o.startswith(f"{spool}:")]
        known = {*numbers, *waiting(folder), *aside}
        assert known == set(range(len(known))), f"{spool}: {sorted(known)}"
    assert not found, f"episodes of unknown spools: {found}"


def waiting(spool):
    """Numbers of the episodes that wait in a spool."""
    return [int(p.name) for p in (spool / "episodes").iterdir() if p.name.isdecimal()]


def local_spools(run, count):
    return {
        f"robot-{number}": LivePaths(run).folder / "robots" / f"robot-{number}"
        for number in range(1, count + 1)
    }


@contextlib.contextmanager
def stopped(process):
    """SIGSTOP for a while."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal.SIGCONT)
