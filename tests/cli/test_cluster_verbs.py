"""What can be known to be wrong about robots and learners is said before anything is made."""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from silri.cli import cluster, pages, process
from silri.cli.cluster import check_name, free_port
from silri.cli.pages import PageFlags
from silri.core.clock import FakeClock
from silri.core.errors import ConfigError, MissingExtraError
from silri.runtime.cluster.paths import SpoolPaths, read_record, write_record
from silri.runtime.cluster.wire.security import ensure_token
from tests.cli.conftest import POINT, SMALL


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Somebody's home, and no Ray: nothing here may come so far."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "400")

    def no_ray():
        raise MissingExtraError("cluster", "the cluster runtime (Ray)")

    monkeypatch.setattr(cluster, "import_ray", no_ray)
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


@pytest.fixture
def started(monkeypatch):
    """What would be started, if Ray were here."""
    calls = []
    monkeypatch.setattr(cluster, "import_ray", lambda: None)
    monkeypatch.setattr(cluster, "run_learner", lambda *a: calls.append(a) or 0)
    monkeypatch.setattr(cluster, "run_robot", lambda *a: calls.append(a) or 0)
    return calls


def said(silri):
    return " ".join((silri.err + silri.out).split())


def assert_nothing_made():
    assert list(Path().iterdir()) == []


LEARNER = ["learner", "--agent", "hg_dagger", *POINT, *SMALL]
TRAIN = ["train", "--agent", "hg_dagger", *POINT, *SMALL, "--runtime"]


def test_robots_of_a_cluster_are_not_filmed(silri):
    assert silri(*LEARNER, "--evaluation.videos", "1") == 2
    assert "evaluation.videos films runs in one process so far" in said(silri)
    assert_nothing_made()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--listen", "0.0.0.0"], "--listen 0.0.0.0 is every network of this machine; name the"),
        (["--listen", "::"], "--listen :: is every network"),
        (["--listen", "robots.local"], "--listen takes an IP address of this machine"),
        (["--listen", "10.0.0.5:80"], "--listen takes an IP address"),
        (["--port", "80"], "--port takes a number from 1024 to 65535, got 80"),
        (["--port", "65536"], "--port takes a number from 1024 to 65535, got 65536"),
        (["--ray-port", "-1"], "--ray-port takes a number from 1024 to 65535, got -1"),
        (["--ray-port", "10001"], "--port and --ray-port are both 10001; they are two ports"),
        (["--port", "many"], "many"),
        (["--robots", "-1"], "--robots takes 0 or more, got -1"),
        (["--robots", "two"], "two"),
        (["--name", "arm"], "--name"),
        (
            ["--runtime.updates-per-step", "0"],
            "runtime.updates_per_step takes a number > 0, got 0.0",
        ),
        (["--steps", "-1"], "steps takes a whole number >= 0, got -1"),
    ],
)
def test_wrong_flags_of_a_learner(silri, started, arguments, message):
    assert silri(*LEARNER, *arguments) == 2
    assert message in said(silri)
    assert "Traceback" not in silri.err
    assert_nothing_made()
    assert started == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["local", "--robots", "2"], "--robots needs --runtime cluster"),
        (["cluster", "--robots", "0"], "--robots takes 1 or more, got 0"),
        (["cluster", "--robots", "-3"], "--robots takes 1 or more, got -3"),
        (["clutser"], "unknown runtime 'clutser'. Did you mean 'cluster'? Known: local, cluster"),
        (["cluster", "--runtime", "local"], "--runtime is given twice"),
        (["cluster", "--listen", "127.0.0.1"], "--listen"),
    ],
)
def test_wrong_flags_of_a_cluster_run(silri, started, arguments, message):
    assert silri(*TRAIN, *arguments) == 2
    assert message in said(silri)
    assert_nothing_made()
    assert started == []


@pytest.mark.parametrize("arguments", [LEARNER, [*TRAIN, "cluster"]])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("metaworld/draw-open-v3", "unknown environment 'metaworld/draw-open-v3'. Did you mean"),
        ("gym/Pendulumm-v1", "unknown environment 'gym/Pendulumm-v1'. Did you mean"),
        ("nowhere:Point-v0", "environment 'nowhere:Point-v0': no module 'nowhere' in"),
        ("tests.fakes.envs.gym_point:Pint-v0", "unknown environment 'Pint-v0'"),
    ],
)
def test_an_environment_that_is_not_there(silri, started, arguments, name, message):
    """No process of this machine opens it, and yet its name is known to be wrong."""
    at = arguments.index("--env")
    assert silri(*arguments[: at + 1], name, *arguments[at + 2 :], "--out", "run") == 2
    assert message in said(silri)
    assert_nothing_made()
    assert started == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--address", "here"], "--address takes HOST:PORT, got 'here'"),
        (["--address", "here:"], "--address takes HOST:PORT, got 'here:'"),
        (["--address", ":10001"], "--address takes HOST:PORT, got ':10001'"),
        (["--address", "here:port"], "--address takes HOST:PORT"),
        (["--address", "here:0"], "--address takes HOST:PORT"),
        (["--address", "here:65536"], "--address takes HOST:PORT"),
        (["--name", "a/b"], "--name takes letters, digits, - and _, got 'a/b'"),
        (["--name", "."], "got '.'"),
        (["--name", "left arm"], "got 'left arm'"),
        (["--robots", "2"], "--robots"),
    ],
)
def test_wrong_flags_of_a_robot(silri, home, started, arguments, message):
    assert silri("actor", *arguments) == 2
    assert message in said(silri)
    assert "Traceback" not in silri.err
    assert started == []
    assert list(home.iterdir()) == []


# -- the token -------------------------------------------------------------------------------------


def test_a_robot_needs_the_learners_token(silri, home):
    assert silri("actor", "--name", "arm") == 2
    token = home / ".silri/token"
    assert f"there is no token at {token}: copy" in said(silri)
    assert f"scp LEARNER:.silri/token {token}" in said(silri)
    assert list(home.iterdir()) == []  # no spool either
    assert silri("actor", "--name", "arm", "--token", "elsewhere") == 2
    assert "there is no token at elsewhere" in said(silri)


@pytest.mark.parametrize("verb", ["actor", "learner", "train"])
def test_a_token_that_others_can_read_is_refused(silri, home, verb):
    token = ensure_token(home / ".silri/token")
    token.chmod(0o644)
    arguments = {"actor": ["actor"], "learner": LEARNER, "train": [*TRAIN, "cluster"]}[verb]
    assert silri(*arguments) == 2
    assert f"{token} can be read by others: 'chmod 600 {token}'" in said(silri)
    assert_nothing_made()


def test_a_learner_makes_the_token(silri, home, started):
    assert silri(*LEARNER, "--out", "run") == 0
    token = home / ".silri/token"
    assert token.stat().st_mode & 0o777 == 0o600
    assert silri(*LEARNER, "--out", "run2", "--token", "own") == 0
    assert Path("own").stat().st_mode & 0o777 == 0o600
    assert started[1][3] == Path("own")


# -- what cannot be started ------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [LEARNER, [*TRAIN, "cluster"]])
def test_without_ray(silri, arguments):
    assert silri(*arguments) == 2
    assert "the cluster runtime (Ray) needs an extra: pip install 'silri[cluster]'" in said(silri)
    assert_nothing_made()


def test_a_robot_without_ray(silri, home):
    ensure_token(home / ".silri/token")
    assert silri("actor") == 2
    assert "pip install 'silri[cluster]'" in said(silri)


@pytest.mark.parametrize("arguments", [LEARNER, [*TRAIN, "cluster"]])
def test_an_agent_that_needs_no_robots(silri, started, arguments):
    arguments = ["bc" if argument == "hg_dagger" else argument for argument in arguments]
    assert silri(*arguments) == 2
    assert "agent bc is trained before the first episode: it needs no robots" in said(silri)
    assert_nothing_made()
    assert started == []


def test_what_is_wrong_with_a_resumed_run_changes_nothing(silri, started):
    assert silri(*LEARNER, "--out", "run") == 0
    before = Path("run/config.json").read_bytes()
    for wrong in (["--port", "1"], ["--steps", "40", "--robots", "-1"]):
        assert silri("learner", "--resume", "run", *wrong) == 2
        assert Path("run/config.json").read_bytes() == before
    assert silri("learner", "--resume", "run", "--runtime.max-lag", "7") == 2
    assert "keeps its configuration; differing: runtime.max_lag" in said(silri)
    assert len(started) == 1


# -- what would be started -------------------------------------------------------------------------


def test_what_a_learner_starts(silri, home, started):
    flags = ["--robots", "2", "--listen", "127.0.0.2", "--port", "7000", "--ray-port", "7001"]
    assert silri(*LEARNER, *flags, "--out", "run") == 0
    ((folder, config, ports, token, names, door),) = started
    assert door is None
    assert (folder.path, config.steps) == (Path("run"), 30)
    assert (ports.address, ports.internal) == ("127.0.0.2:7000", 7001)
    assert (token, names) == (home / ".silri/token", ["robot-1", "robot-2"])


def test_a_learner_waits_for_robots_of_others(silri, started):
    assert silri(*LEARNER, "--out", "run") == 0
    assert started[0][4] == []


def test_what_a_cluster_run_starts(silri, started):
    assert silri(*TRAIN, "cluster", "--robots", "3", "--out", "run") == 0
    ((_, _, ports, _, names, _),) = started
    assert ports.host == "127.0.0.1"
    assert ports.client != ports.internal
    assert names == ["robot-1", "robot-2", "robot-3"]


def test_what_a_robot_starts(silri, home, started, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "cell-7.factory.example")
    assert silri("actor", "--address", "10.0.0.5:7000") == 0
    assert silri("actor", "--name", "left_arm-2", "--spool", "here", "--token", "t") == 0
    ours = home / ".silri"
    page = PageFlags("127.0.0.1", 8420, None, "--page-")
    assert started == [
        (ours / "spool/cell-7", "cell-7", "10.0.0.5:7000", ours / "token", page),
        (Path("here").absolute(), "left_arm-2", "127.0.0.1:10001", Path("t"), page),
    ]
    assert silri("actor", "--page-port", "9000", "--page-host", "10.0.0.7") == 0
    assert started[-1][-1] == PageFlags("10.0.0.7", 9000, None, "--page-")
    assert silri("actor", "--page-port", "99999") == 2
    assert "--page-port takes a number from 0 to 65535, got 99999" in said(silri)


WEB = ["--agent", "hg_dagger", *POINT[:4], *SMALL, "--operator", "web"]


def test_a_page_is_held_before_there_is_a_folder(silri, started):
    """Once, for all robots of this machine; none where there is no robot."""
    train = ["train", "--runtime", "cluster", *WEB]
    assert silri(*train, "--robots", "2", "--operator.port", "0", "--out", "first") == 0
    with started[-1][5].listener as listener:
        port = listener.getsockname()[1]
        assert len(started[-1][5].token) >= 32
        more = ["--operator.port", str(port), "--out", "run"]
        assert silri(*train, *more) == 2
        assert f"port {port} is taken; give another one, --operator.port {port + 1}" in said(silri)
        assert not Path("run").exists()
        assert silri("learner", *WEB, *more) == 0  # robots elsewhere serve their own
        assert started[-1][5] is None
    assert silri(*train, "--operator.host", "203.0.113.7", "--out", "no") == 2
    assert "could drive the robot: give --operator.token-file" in said(silri)
    assert not Path("no").exists()


def test_a_robot_serves_a_page_when_its_learner_wants_one(tmp_path, monkeypatch):
    """The learner's configuration comes later; the port is this machine's affair."""
    made = []
    monkeypatch.setattr(pages, "Pages", lambda *a, **k: made.append((a, k)))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        flags = PageFlags("127.0.0.1", taken.getsockname()[1], None, "--page-")
        late = pages.LatePages(flags, tmp_path, "arm", None)
        late.look()
        write_record(SpoolPaths(tmp_path).setup, {"run": {"operator": {"name": "web"}}})
        with pytest.raises(ConfigError, match=r"is taken; give another one, --page-port \d+ say"):
            late.look()
    late = pages.LatePages(flags._replace(port=0), tmp_path, "arm", 3)
    late.look()
    late.look()
    (((door, spools, log, core), more),) = made
    door.listener.close()
    assert (spools, log, core) == ({"arm": tmp_path}, tmp_path / "console.log", 3)
    assert more == {}  # it has heard of nobody else
    write_record(SpoolPaths(tmp_path).setup, {"run": {"operator": {"name": "steady"}}})
    pages.LatePages(flags, tmp_path, "arm", None).look()
    assert len(made) == 1


def test_help_is_there(silri):
    for verb in ("learner", "actor"):
        assert silri(verb, "--help") == 0
        assert "--token" in silri.out


def test_names():
    assert check_name("arm_1-b") == "arm_1-b"
    for name in ("", "a b", "../x", "a:b"):
        with pytest.raises(ConfigError, match="--name takes"):
            check_name(name)


def test_a_free_port_can_be_bound():
    with socket.socket() as ours:
        ours.bind(("127.0.0.1", free_port()))


# -- the processes that a supervisor starts --------------------------------------------------------


def test_a_process_that_cannot_start_tells_its_supervisor_that_another_try_is_no_use(tmp_path):
    arguments = ["--lifeline", tmp_path / "lifeline", "--spool", tmp_path, "--robot", "arm"]
    token = ["--token", tmp_path / "none", "--address", "127.0.0.1:1"]
    done = subprocess.run(
        [sys.executable, "-m", "silri.cli.process", "uplink", *map(str, [*arguments, *token])],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"silri uplink: there is no token at {tmp_path / 'none'}")
    assert "Traceback" not in done.stderr


def test_a_control_loop_shows_signs_of_life_while_it_waits_for_a_learner(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "MonotonicClock", FakeClock)
    paths, beats = SpoolPaths(tmp_path), []

    def stop():
        beats.append(read_record(paths.control).get("beat"))
        return len(beats) > 3

    chosen = argparse.Namespace(spool=tmp_path, robot="arm", core=None)
    assert process.KINDS["control"](chosen, stop) == 0
    assert beats == [None, 0.0, 0.2, 0.4]
    assert read_record(paths.control)["note"] == "waiting for the learner"
