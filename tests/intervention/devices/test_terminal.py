"""The terminal's keyboard, at a real pseudo terminal."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time

import numpy as np
import pytest

from silri.core.commands import Command
from silri.core.errors import ConfigError
from silri.intervention.devices import terminal
from silri.intervention.devices.terminal import KEYS, TerminalConfig, TerminalHandle
from silri.intervention.operators import OperatorContext
from silri.intervention.registry import create_operator
from tests.intervention.devices.twin import ARM, decide, play, view

ECHO, LINES = termios.ECHO, termios.ICANON


class Screen:
    """The other end of a terminal: what a person's fingers and eyes have."""

    def __init__(self):
        self.master, self.slave = pty.openpty()
        self.path = os.ttyname(self.slave)
        self.shown = b""

    def type(self, text):
        os.write(self.master, text.encode())

    def look(self, seconds=0.0):
        """Everything that was written to it so far."""
        while select.select([self.master], [], [], seconds)[0]:
            self.shown += os.read(self.master, 4096)
        return self.shown.decode(errors="replace")

    def modes(self):
        return termios.tcgetattr(self.slave)

    def wait_for(self, text, seconds=10.0):
        end = time.monotonic() + seconds
        while text not in self.look(0.02):
            assert time.monotonic() < end, self.shown

    def close(self):
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def screen():
    screen = Screen()
    yield screen
    screen.close()


@pytest.fixture
def device(screen, monkeypatch):
    monkeypatch.setattr(terminal, "terminal_path", lambda: screen.path)
    device = create_operator(TerminalConfig(), OperatorContext(ARM, "terminal"))
    device.begin_episode(np.random.default_rng(0))
    device.decide(view())
    yield device
    device.close()


def until(device, condition, seconds=5.0, meanwhile=lambda: None):
    end = time.monotonic() + seconds
    while True:
        meanwhile()
        asked = device.decide(view())
        if condition(asked):
            return asked
        assert time.monotonic() < end, asked
        time.sleep(0.01)


# -- at a real terminal ----------------------------------------------------------------------------


def test_a_key_that_is_held_drives_and_stops_when_its_repetition_does(device, screen):
    asked = until(device, lambda asked: asked.engaged, meanwhile=lambda: screen.type("\x1b[A"))
    np.testing.assert_array_equal(asked.action, [1, 0, 0, -1])
    asked = until(device, lambda asked: not asked.action[:3].any())
    assert asked.engaged  # for a moment: the terminal may only be about to repeat it
    until(device, lambda asked: not asked.engaged)


def test_keys_give_commands_once(device, screen):
    screen.type("p")
    assert until(device, lambda asked: asked.commands).commands == (Command.PAUSE,)
    screen.type("\r")
    assert until(device, lambda asked: asked.commands).commands == (Command.SUCCESS,)
    screen.type(" ")
    assert until(device, lambda asked: asked.action[3] == 1.0).engaged


def test_a_terminal_that_tells_of_releases_is_asked_and_used(device, screen):
    screen.wait_for("\x1b[?u")
    screen.type("\x1b[?0u")
    screen.wait_for("\x1b[>11u")
    screen.type("\x1b[1;1:1A\x1b[119;1:1u")  # two keys at once
    asked = until(device, lambda asked: asked.action[2] == 1.0)
    np.testing.assert_array_equal(asked.action, [1, 0, 1, -1])
    screen.type("\x1b[1;1:3A")
    asked = until(device, lambda asked: asked.action[0] == 0.0)
    assert asked.action[2] == 1.0
    screen.type("\x1b[O")  # another window
    until(device, lambda asked: asked.action[2] == 0.0)
    device.close()
    screen.wait_for("\x1b[<u")


def test_typing_is_not_echoed_and_lines_end_as_before(device, screen):
    modes = screen.modes()[3]
    assert not modes & (ECHO | LINES)
    assert modes & termios.ISIG  # Ctrl-C stays what it is
    assert screen.modes()[1] & termios.OPOST  # a line feed of whoever prints still returns
    screen.type("abc")
    until(device, lambda asked: asked.engaged)
    assert "abc" not in screen.look(0.05)


def test_it_is_given_back_as_it_was(screen, monkeypatch):
    monkeypatch.setattr(terminal, "terminal_path", lambda: screen.path)
    before = screen.modes()
    handle = TerminalHandle()
    assert screen.modes() != before
    handle.close()
    handle.close()
    assert screen.modes() == before


def test_a_terminal_whose_other_end_is_gone_is_gone(monkeypatch):
    screen = Screen()
    monkeypatch.setattr(terminal, "terminal_path", lambda: screen.path)
    handle = TerminalHandle()
    screen.close()
    with pytest.raises(OSError, match=r"closed|Input/output error"):
        handle.read(0.5)
    handle.close()


CHILD = """
import os, sys, time
import numpy as np
from rich.progress import Progress
from silri.intervention.devices.terminal import TerminalConfig
from silri.intervention.operators import OperatorContext
from silri.intervention.registry import create_operator
from tests.intervention.devices.twin import ARM, view

device = create_operator(TerminalConfig(), OperatorContext(ARM, "terminal"))
device.begin_episode(np.random.default_rng(0))
with Progress() as progress:
    task = progress.add_task("steps", total=100)
    print("ready", flush=True)
    while not device.decide(view()).engaged:
        progress.advance(task, 0.1)
        time.sleep(0.01)
    print("driven", flush=True)
    {end}
"""


def child(screen, end):
    return subprocess.Popen(
        [sys.executable, "-c", CHILD.replace("{end}", end)],
        stdin=screen.slave,
        stdout=screen.slave,
        stderr=screen.slave,
        env={**os.environ, "TERM": "xterm", "PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,
    )


@pytest.mark.parametrize(
    ("end", "number"),
    [
        ("pass", None),
        ("raise ValueError('in the middle')", None),
        ("time.sleep(30)", signal.SIGTERM),
    ],
    ids=["done", "exception", "SIGTERM"],
)
def test_however_a_process_ends_its_terminal_is_as_it_was(screen, end, number):
    """Beside the live display of a run."""
    before = screen.modes()
    process = child(screen, end)
    screen.wait_for("ready", 30)
    assert screen.modes()[3] & ECHO == 0
    screen.type("w")
    screen.wait_for("driven")
    if number is not None:
        process.send_signal(number)
    process.wait(20)
    assert process.returncode == (-number if number else 1 if "raise" in end else 0)
    assert screen.modes() == before
    assert "steps" in screen.look(0.05)


def test_without_a_terminal_it_says_what_to_do():
    code = (
        "from silri.intervention.devices.terminal import terminal_path\n"
        "from silri.core.errors import ConfigError\n"
        "try:\n    terminal_path()\nexcept ConfigError as error:\n    print(error)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, start_new_session=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert "needs a terminal, and this process has none: start it in one" in result.stdout


# -- its twin --------------------------------------------------------------------------------------


def typed(*rows, **fields):
    return play("terminal", [(time, "text", text) for time, text in rows], **fields)


def test_an_ordinary_terminal_repeats_one_key_and_taps_are_short():
    device = typed((0.0, "w"), (0.5, "w"), (0.54, "w"), (0.58, "w"))
    up = [float(asked.action[2]) for asked in decide(device, 20)]
    assert up[:3] == [1, 1, 1]  # a tap
    assert up[3:10] == [0] * 7  # until the terminal begins to repeat it
    assert up[10:14] == [1] * 4
    assert up[15:] == [0] * 5
    device = typed((0.0, "w"), (0.5, "w"), (0.54, "w"), (0.58, "w"))
    assert all(asked.engaged for asked in decide(device, 20))  # the flag does not flicker


def test_a_held_button_is_not_pressed_again_and_again():
    device = typed(*[(0.0 + 0.04 * i, "p") for i in range(10)])
    assert [c for asked in decide(device, 10) for c in asked.commands] == [Command.PAUSE]


def test_opposite_keys_cancel_and_two_axes_add():
    kitty = [(0.0, "protocol", "kitty"), (0.0, "text", "\x1b[1;1:1A\x1b[1;1:1B\x1b[1;1:1D")]
    np.testing.assert_array_equal(decide(play("terminal", kitty), 1)[0].action[:3], [0, 1, 0])


def test_a_terminal_that_falls_silent_lets_go():
    """A line that is cut sends no release; while a key is held, its repetitions come."""
    kitty = [(0.0, "protocol", "kitty"), (0.0, "text", "\x1b[1;1:1A")]
    kitty += [(0.1 * i, "text", "\x1b[1;1:2A") for i in range(1, 6)]
    forward = [float(asked.action[0]) for asked in decide(play("terminal", kitty), 40)]
    assert forward[:30] == [1.0] * 30
    assert forward[31:] == [0.0] * 9


@pytest.mark.parametrize("name", KEYS)
def test_every_key_moves_what_its_table_says(name):
    decoder = terminal.TerminalDecoder(0.15)
    motion, sign = KEYS[name]
    sent = {"up": "\x1b[A", "down": "\x1b[B", "right": "\x1b[C", "left": "\x1b[D",
            "pageup": "\x1b[5~", "pagedown": "\x1b[6~"}.get(name, name)  # fmt: skip
    decoder.feed(terminal.RawEvent(0.0, "text", sent))
    assert decoder.read(0.0).motion == {motion: sign}


def test_no_key_has_two_meanings():
    assert not set(KEYS) & set(TerminalConfig.buttons)


def test_holding_to_drive_needs_a_button_for_it():
    with pytest.raises(ConfigError, match="needs a button that means 'drive'"):
        TerminalConfig(drive="hold")
    asked = decide(typed((0.0, "w"), (0.1, "wz"), drive="hold", bind=("z=drive",)), 4)
    assert [each.engaged for each in asked] == [False, False, True, True]
