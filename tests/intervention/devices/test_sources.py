"""Readers, replays and recordings: what was said, and when."""

from __future__ import annotations

import json
import threading
import time

import pytest

from silri.core.clock import FakeClock, MonotonicClock
from silri.core.errors import ConfigError, DataError, SilriError
from silri.intervention.devices import sources
from silri.intervention.devices.events import BACK, GONE, RawEvent, read_input
from silri.intervention.devices.sources import Reader, Recorded, Replay

EVENTS = [RawEvent(0.0, "a", 1), RawEvent(0.1, "b", [1, 2]), RawEvent(0.25, "c", None)]


class Wire:
    """A device whose cable a test holds."""

    def __init__(self):
        self.plugged, self.said, self.opened, self.closed = True, [], 0, 0
        self.told, self.stuck = [], threading.Event()
        self.stuck.set()

    def open(self):
        if not self.plugged:
            raise ConfigError("not there")
        self.opened += 1
        return self

    def read(self, timeout):
        self.stuck.wait()
        time.sleep(0.001)
        if not self.plugged:
            raise OSError("unplugged")
        said, self.said = self.said, []
        return said

    def send(self, data):
        self.told.append(data)

    def close(self):
        self.closed += 1


def wait_for(condition, seconds=5.0):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.002)
    return False


@pytest.fixture
def wire(monkeypatch):
    monkeypatch.setattr(sources, "RETRY_S", 0.01)
    return Wire()


@pytest.fixture
def reader(wire):
    reader = Reader("wire", wire.open, MonotonicClock())
    yield reader
    wire.stuck.set()
    reader.close()


def kinds(reader, wanted):
    """What the reader says until it has said all of ``wanted``."""
    found = []
    assert wait_for(lambda: (found.extend(reader.poll()), len(found) >= len(wanted))[1]), found
    return [(event.kind, event.data) for event in found]


def test_a_reader_hands_over_what_was_said_in_order(reader, wire):
    wire.said = [("axis", 1), ("axis", 2)]
    assert kinds(reader, [1, 2]) == [("axis", 1), ("axis", 2)]
    assert reader.poll() == []
    assert not reader.ended


def test_an_unplugged_device_is_gone_and_comes_back(reader, wire):
    wire.plugged = False
    assert kinds(reader, [1]) == [(GONE, "unplugged")]
    assert wire.closed == 1
    time.sleep(0.05)
    assert reader.poll() == []  # once
    wire.plugged = True
    assert kinds(reader, [1]) == [(BACK, None)]
    wire.said = [("axis", 3)]
    assert kinds(reader, [1]) == [("axis", 3)]
    assert wire.opened == 2


def test_a_device_that_does_not_answer_is_gone(reader, wire, monkeypatch):
    monkeypatch.setattr(sources, "SILENT_S", 0.05)
    wire.stuck.clear()
    assert kinds(reader, [1]) == [(GONE, "it has not answered for 0.05 s")]
    assert reader.poll() == []
    wire.stuck.set()
    (gone, reason), back = kinds(reader, [1, 2])  # opened anew: it says everything again
    assert gone == GONE
    assert "did not answer" in reason
    assert back == (BACK, None)
    assert wire.opened == 2


def test_what_a_device_is_told_reaches_it(reader, wire):
    reader.send([1.0])
    assert wait_for(lambda: wire.told == [[1.0]])


def test_polling_waits_for_nobody(reader, wire):
    wire.stuck.clear()
    began = time.perf_counter()
    for _ in range(100):
        reader.poll()
    assert time.perf_counter() - began < 0.1


def test_closing_releases_the_device(wire):
    reader = Reader("wire", wire.open, MonotonicClock())
    reader.close()
    assert wire.closed >= 1
    assert reader.poll() == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_in_a_driver_is_not_a_silent_device(wire):
    wire.read = lambda timeout: [].pop()
    reader = Reader("wire", wire.open, MonotonicClock())
    assert wait_for(lambda: not reader._thread.is_alive())
    with pytest.raises(SilriError, match="the thread that reads the device has ended"):
        reader.poll()


def test_a_device_that_is_not_there_is_said_at_once(wire):
    wire.plugged = False
    with pytest.raises(ConfigError, match="not there"):
        Reader("wire", wire.open, MonotonicClock())


def test_a_replay_by_the_clock():
    clock = FakeClock(100.0)
    replay = Replay(EVENTS, clock)
    clock.advance(5.0)  # it begins with the first poll
    assert replay.poll() == EVENTS[:1]
    clock.advance(0.12)
    assert replay.poll() == EVENTS[1:2]
    assert replay.now() == pytest.approx(0.12)
    assert not replay.ended
    clock.advance(1.0)
    assert replay.poll() == EVENTS[2:]
    assert replay.ended
    replay.rewind()
    assert replay.poll() == EVENTS[:1]


def test_a_replay_by_decisions_needs_no_clock():
    replay = Replay(EVENTS, FakeClock(), hz=10.0)
    assert [len(replay.poll()) for _ in range(5)] == [1, 1, 0, 1, 0]


def test_a_recording_is_the_device_s_twin(tmp_path):
    path = tmp_path / "input" / "pad.jsonl"
    recorded = Recorded(Replay(EVENTS, FakeClock(), hz=4.0), path, "gamepad")
    heard = [event for _ in range(3) for event in recorded.poll()]
    recorded.close()
    assert heard == EVENTS
    assert read_input(path, "gamepad") == EVENTS


def test_nothing_that_was_recorded_is_overwritten(tmp_path):
    path = tmp_path / "pad.jsonl"
    path.write_text("mine")
    with pytest.raises(ConfigError, match=r"pad.jsonl is there already; name a new file"):
        Recorded(Replay([], FakeClock()), path, "gamepad")
    assert path.read_text() == "mine"


HEADER = json.dumps({"silri_input": 1, "device": "gamepad"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1 is no JSON"),
        ("{}", "is no recorded input of format 1"),
        (json.dumps({"silri_input": 2, "device": "gamepad"}), "its first line says 2"),
        (json.dumps({"silri_input": 1, "device": "spacemouse"}), "recorded from 'spacemouse', not"),
        (HEADER + "\n[]", "line 2 takes an object"),
        (HEADER + '\n{"t": "x", "kind": "axis"}', "line 2 takes a time 't'"),
        (HEADER + '\n{"t": NaN, "kind": "axis"}', "line 2 takes a time 't'"),
        (HEADER + '\n{"t": 1, "kind": "a"}\n{"t": 0, "kind": "a"}', "line 3: time goes back to"),
        (HEADER + '\n{"t": 1, "ki', "line 2 is no JSON"),
    ],
)
def test_a_damaged_recording_is_refused_by_line(tmp_path, text, message):
    path = tmp_path / "pad.jsonl"
    path.write_text(text)
    with pytest.raises((DataError, ConfigError), match=message):
        read_input(path, "gamepad")


def test_a_recording_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"nowhere.jsonl cannot be read"):
        read_input(tmp_path / "nowhere.jsonl", "gamepad")
