"""The operator ``web`` on the run's side: the safety rule, labels, its port, its process."""

from __future__ import annotations

import os
import signal
import socket
import time

import numpy as np
import pytest

from silri.configs.run import RunConfig
from silri.console.line import find
from silri.console.link import RunLink
from silri.console.operator import WebConfig, WebOperator
from silri.console.wire import pack, receive
from silri.core.clock import FakeClock
from silri.core.commands import Command, CommandQueue, Request
from silri.core.errors import ConfigError, MissingExtraError
from silri.core.events import EpisodeBegan, EpisodeEnded, EvaluationBegan, RunBegan, StepTaken
from silri.core.protocols import OperatorView
from silri.core.transition import Transition
from silri.intervention.operators import OperatorContext
from silri.intervention.registry import create_operator
from silri.runtime.cluster.paths import SpoolPaths
from tests.fakes.envs.point import PointMass

SPEC = PointMass().env_spec
VIEW = OperatorView({}, np.zeros(4, np.float32), None, 0, in_control=False)
FORWARD = [1.0, 0.0, 0.0, 0.0]


class Desk:
    """An operator without a process: what it hears is said here, what it says is kept."""

    def __init__(self, monkeypatch):
        self.told = []
        monkeypatch.setattr(RunLink, "send", lambda _, message: self.told.append(message))
        monkeypatch.setattr(WebOperator, "_start", lambda *_: None)
        self.clock = FakeClock(50.0)
        listener = socket.create_server(("127.0.0.1", 0))
        self.operator = WebOperator(WebConfig(), SPEC.action, listener, "t", now=self.clock.now)
        self.commands = CommandQueue()
        self.operator.on_event(RunBegan("run", SPEC, (), True, self.commands))

    def hear(self, kind, page="page-1", **fields):
        self.operator._hear({"kind": kind, "page": page, **fields})

    def input(self, sequence, axes=FORWARD, *, hold=True, page="page-1"):
        self.hear("input", page, sequence=sequence, axes=list(axes), hold=hold)

    def begin(self, episode, kind="training"):
        self.operator.on_event(EpisodeBegan(0, episode, kind, 5, "reach", {}))

    def decide(self):
        return self.operator.decide(VIEW)

    def of(self, kind):
        return [message for message in self.told if message["kind"] == kind]

    @property
    def phase(self):
        return tuple(self.of("control")[-1][key] for key in ("phase", "reason"))


@pytest.fixture
def desk(monkeypatch):
    desk = Desk(monkeypatch)
    yield desk
    desk.operator.close()


def step_of(episode, action):
    observation = {key: np.zeros(a.shape, np.float32) for key, a in SPEC.observation.items()}
    nobody = np.full(4, np.nan, np.float32)
    return Transition(
        observation, np.float32(action), np.zeros(4, np.float32), nobody, 0.0, -0.05, observation,
        False, False, False, 0.0, episode, 0, 0,
    )  # fmt: skip


def test_the_policy_drives_until_somebody_holds(desk):
    desk.begin(3)
    assert desk.decide() == desk.decide()
    assert not desk.decide().engaged
    assert desk.phase == ("autonomous", "")
    desk.input(1)
    asked = desk.decide()
    assert asked.engaged
    assert not asked.pause
    np.testing.assert_array_equal(asked.action, np.float32([1, 0, 0, -1]))
    assert desk.phase == ("human", "")
    desk.input(2, [0, 0, 0, 0], hold=False)
    assert not desk.decide().engaged
    assert [each["phase"] for each in desk.of("control")] == ["autonomous", "human", "autonomous"]


def test_what_is_executed_is_told_once(desk):
    desk.begin(3)
    desk.input(7)
    for _ in range(3):
        desk.decide()
    desk.input(8)
    desk.decide()
    assert [each["sequence"] for each in desk.of("applied")] == [7, 8]


def test_silence_while_driving_pauses_the_robot(desk):
    desk.begin(3)
    desk.input(1)
    assert desk.decide().engaged
    desk.clock.advance(0.249)
    assert desk.decide().engaged
    desk.clock.advance(0.002)
    asked = desk.decide()
    assert asked.pause
    assert not asked.engaged
    assert desk.phase == ("paused", "no input from page-1 for 250 ms")
    desk.clock.advance(60.0)
    assert desk.decide().pause  # it does not go on by itself
    desk.input(2)
    assert desk.decide().engaged
    assert desk.phase == ("human", "")


@pytest.mark.parametrize("way_out", ["release", "resume", "let go"])
def test_after_silence_the_policy_goes_on_only_when_told(desk, way_out):
    desk.begin(3)
    desk.input(1)
    desk.clock.advance(1.0)
    assert desk.decide().pause
    if way_out == "resume":
        desk.hear("command", command="resume", episode=None)
    elif way_out == "release":
        desk.input(2, [0, 0, 0, 0], hold=False)
    else:
        desk.hear("release")
    asked = desk.decide()
    assert not asked.engaged
    assert not asked.pause
    assert desk.phase == ("autonomous", "")


def test_a_page_that_is_gone_pauses_at_once(desk):
    desk.begin(3)
    desk.input(1)
    desk.hear("lost")
    assert desk.decide().pause
    assert desk.phase == ("paused", "page-1 is gone")
    desk.input(1, page="page-2")
    assert desk.decide().engaged


def test_in_a_demonstration_the_robot_waits_for_the_person(desk):
    desk.begin(0, "demonstration")
    assert desk.decide().pause
    assert desk.phase == ("waiting", "drive: the robot waits for you to show the task")
    desk.input(1)
    assert desk.decide().engaged
    assert desk.phase == ("demonstration", "")
    desk.input(2, [0, 0, 0, 0], hold=False)
    assert desk.decide().pause
    desk.operator.on_event(EpisodeEnded(0, 0, "demonstration", "finished", True))
    assert desk.phase[0] == "waiting"
    desk.operator.on_event(EvaluationBegan(0))
    assert desk.phase[0] == "evaluation"


def test_a_takeover_does_not_open_the_gripper(desk):
    desk.begin(3)
    desk.operator.on_event(StepTaken(1, step_of(3, [0, 0, 0, 1]), {}))
    desk.input(1)
    assert desk.decide().action[3] == 1.0
    desk.input(2, [1, 0, 0, -1])
    assert desk.decide().action[3] == -1.0


def test_paused_by_a_person_is_said_and_undone(desk):
    desk.begin(3)
    desk.hear("command", command="pause", episode=3)
    desk.decide()
    assert desk.phase == ("paused", "paused by page-1")
    desk.input(1)
    desk.decide()
    assert desk.phase == ("paused", "paused by page-1")
    assert desk.of("applied") == []  # the arbiter holds the robot: nothing is executed
    desk.hear("command", "page-2", command="resume", episode=None)
    desk.decide()
    assert desk.phase == ("human", "")
    assert desk.commands.take() == (Request(Command.PAUSE), Request(Command.RESUME))


def test_a_label_goes_to_its_episode_or_is_refused(desk):
    desk.hear("command", command="success", episode=None)
    assert desk.of("refused")[-1]["text"] == "'success' is refused: episode None is not running"
    desk.begin(3)
    desk.hear("command", command="success", episode=3)
    desk.hear("command", command="failure", episode=None)
    desk.hear("command", command="discard", episode=2)
    assert desk.of("refused")[-1]["text"] == "'discard' is refused: episode 2 is not running"
    desk.begin(4)
    desk.hear("command", command="success", episode=3)
    assert desk.operator._link.refused["late"] == 3
    # The loop knows for which episode they were, too, and refuses what came a moment too late.
    assert desk.commands.take() == (Request(Command.SUCCESS, 3), Request(Command.FAILURE, 3))
    desk.hear("command", command="stop", episode=None)
    assert desk.commands.stopping


@pytest.mark.parametrize(
    "message",
    [
        {"kind": "input", "sequence": 1, "axes": [0, 0, 0], "hold": True},
        {"kind": "input", "sequence": 1, "axes": [0, 0, 0, 2], "hold": True},
        {"kind": "input", "sequence": "1", "axes": FORWARD, "hold": True},
        {"kind": "input", "sequence": 1, "axes": FORWARD, "hold": None},
        {"kind": "input"},
        {"kind": "command", "command": "take", "episode": None},
        {"kind": "command", "command": ["stop"], "episode": None},
        {"kind": "command", "command": "stop", "episode": "3"},
        {"kind": "step"},
    ],
)
def test_the_console_is_not_believed_either(desk, message):
    desk.begin(3)
    desk.operator._hear({"page": "page-1", **message})
    assert desk.operator._link.refused["malformed"] == 1
    assert not desk.decide().engaged
    assert not desk.commands.stopping


def test_replayed_inputs_are_refused(desk):
    desk.begin(3)
    desk.input(5)
    desk.input(5, [-1, 0, 0, 0])
    desk.input(4, [-1, 0, 0, 0])
    assert desk.decide().action[0] == 1.0
    assert desk.operator._link.refused["replayed"] == 2
    desk.input(1, page="page-2")  # another page counts for itself
    assert desk.operator._link.refused["replayed"] == 2


def test_the_preset_gives_a_person_time():
    config = RunConfig.from_preset(operator_name="web")
    assert (config.runtime.rate_hz, config.data.demos) == (20.0, 5)
    assert config.introduce_operator() == (
        "operator web: you, in a browser (needs the extra 'console'). "
        "The page is on 127.0.0.1, port 8420."
    )
    assert RunConfig.from_preset(operator_name="steady").runtime.rate_hz == 0.0


def create(**fields):
    context = OperatorContext(SPEC.action, "web", 8)
    return create_operator(WebConfig(**fields), context)


def test_a_port_that_is_taken_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as error:
            create(port=port)
    assert str(error.value) == (
        f"port {port} is taken; give another one, --operator.port {port + 1} say, or "
        "--operator.port 0 for any that is free"
    )


def test_others_may_come_only_with_a_token_of_your_own(tmp_path):
    with pytest.raises(ConfigError, match=r"could drive the robot: give --operator.token-file"):
        create(host="203.0.113.7", port=0)
    with pytest.raises(ConfigError, match="takes an IP address of this machine"):
        create(host="localhost", port=0)
    file = tmp_path / "token"
    with pytest.raises(ConfigError, match="is every network of this machine"):
        create(host="0.0.0.0", port=0, token_file=str(file))
    with pytest.raises(ConfigError, match="cannot listen on 203.0.113.7"):
        create(host="203.0.113.7", port=0, token_file=str(file))
    operator = create(port=0, token_file=str(file))
    operator.close()
    assert operator.announcement.endswith(f"/?token={file.read_text().strip()}")
    assert file.stat().st_mode & 0o077 == 0
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="can be read by others"):
        create(port=0, token_file=str(file))


def test_in_a_cluster_run_the_supervisor_holds_the_port(tmp_path):
    """The process leaves where its console finds it, for nobody else to read, and opens no page."""
    lines = []
    for _ in range(2):  # the second one has come again
        context = OperatorContext(SPEC.action, "web", 8, spool=tmp_path)
        operator = create_operator(WebConfig(host="203.0.113.7"), context)
        assert operator.announcement == ""
        operator.on_event(RunBegan(str(tmp_path), SPEC, (), True, CommandQueue()))
        assert SpoolPaths(tmp_path).page.stat().st_mode & 0o777 == 0o600
        lines.append(find(tmp_path))
        with socket.create_connection(("127.0.0.1", lines[-1].port)) as line:
            line.sendall(pack({"kind": "hello", "token": lines[-1].secret}))
            assert receive(line, 1 << 20)["kind"] == "run"
        operator.close()
    assert lines[0].secret != lines[1].secret
    assert [path.name for path in tmp_path.iterdir()] == ["page.json"]


def test_every_start_has_a_token_of_its_own():
    tokens = set()
    for _ in range(2):
        operator = create(port=0)
        operator.close()
        tokens.add(operator.announcement.partition("token=")[2])
    assert len(tokens) == 2
    assert min(map(len, tokens)) >= 32


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("silri.console.operator.NEEDS", ("starlette", "no_such_package"))
    with pytest.raises(MissingExtraError, match=r"operator 'web' needs an extra: pip install"):
        create(port=0)


# -- its process ------------------------------------------------------------------------------


def wait_for(holds, seconds=20.0):
    ends = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < ends, "nothing came of it"
        time.sleep(0.01)
    return found


def test_a_server_that_dies_pauses_whoever_drives_and_comes_back(tmp_path, monkeypatch, caplog):
    """Without a run: the process needs only the line, which is not told of a run here."""
    operator = create(port=0)
    told = []
    monkeypatch.setattr(operator._teller, "_send", told.append)
    operator._start(tmp_path)
    child = operator._child
    try:
        wait_for(lambda: operator._link._connection)
        for death in range(3):
            operator._hear(
                {"kind": "input", "page": "p", "sequence": 1, "axes": FORWARD, "hold": True}
            )
            assert operator.decide(VIEW).engaged
            before = child.pid
            os.kill(before, signal.SIGKILL)
            wait_for(lambda death=death: len(caplog.records) > death)
            asked = operator.decide(VIEW)
            if death == 2:  # for good
                assert asked.pause
                assert "no page any more; Ctrl-C saves" in told[-1]["reason"]
                break
            assert "exit code -9" in caplog.records[-1].message
            wait_for(lambda before=before: child.pid != before and operator._link._connection)
            assert not operator.decide(VIEW).pause  # the policy goes on
    finally:
        started = time.monotonic()
        operator.close()
    assert time.monotonic() - started < 3.0
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


def test_the_process_ends_with_the_run(tmp_path):
    operator = create(port=0)
    operator._start(tmp_path)
    pid = operator._child.pid
    wait_for(lambda: operator._link._connection)
    operator.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert (tmp_path / "console.log").read_bytes() == b""


def test_a_console_hears_of_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(WebOperator, "_start", lambda *_: None)
    operator = create(port=0)
    operator.on_event(RunBegan(str(tmp_path), SPEC, ("lambda",), True, CommandQueue()))
    operator.on_event(EpisodeBegan(0, 3, "training", 5, "reach", {"state": np.zeros(4, "f4")}))
    operator.on_event(StepTaken(1, step_of(3, [0, 0, 0, 1]), {"lambda": 0.5}))
    operator.decide(VIEW)
    with socket.create_connection(("127.0.0.1", operator._link.port)) as line:
        line.sendall(pack({"kind": "hello", "token": operator._secret}))
        told = [receive(line, 1 << 20) for _ in range(4)]
    operator.close()
    run, episode, step, control = told
    assert (run["folder"], run["drawn"], run["diagnostics"]) == (str(tmp_path), True, ["lambda"])
    assert (episode["episode"], episode["seed"], episode["what"]) == (3, 5, "training")
    assert (step["human"], step["diagnostics"]) == (None, {"lambda": 0.5})
    np.testing.assert_array_equal(step["action"], np.float32([0, 0, 0, 1]))
    assert control["phase"] == "autonomous"
