"""The line between the run and its console: who may speak, and that the loop never waits."""

from __future__ import annotations

import contextlib
import queue
import socket
import time

import numpy as np
import pytest

from silri.console import link as link_module
from silri.console.link import OTHERS_KEPT, STEPS_KEPT, Outbox, RunLink
from silri.console.wire import GREETING, TO_RUN, WireError, body_size, pack, receive, unpack

TOKEN = "s" * 64


def step(number, **more):
    return {
        "kind": "step",
        "step": number,
        "observation": {"state": np.zeros(3, np.float32)},
        **more,
    }


@pytest.fixture
def heard():
    return queue.Queue()


@pytest.fixture
def link(heard):
    link = RunLink(TOKEN, heard.put)
    yield link
    link.close()


def call(link, token=TOKEN):
    connection = socket.create_connection(("127.0.0.1", link.port), timeout=5.0)
    connection.sendall(pack({"kind": "hello", "token": token}))
    return connection


def connected(link):
    """A line on which both sides have spoken."""
    link.send({"kind": "run"})
    connection = call(link)
    assert receive(connection, 1 << 20) == {"kind": "run"}
    return connection


def test_messages_keep_arrays_numbers_and_nothing():
    message = {
        "kind": "step",
        "state": np.arange(3, dtype=np.float32),
        "image": np.arange(12, dtype=np.uint8).reshape(2, 2, 3),
        "words": np.array("öffne", "<U12"),
        "number": np.float32(0.5),
        "nan": float("nan"),
        "none": None,
    }
    frame = pack(message)
    back = unpack(frame[4:])
    assert body_size(frame[:4], TO_RUN) == len(frame) - 4
    for key in ("state", "image", "words"):
        np.testing.assert_array_equal(back[key], message[key])
        assert back[key].dtype == message[key].dtype
    assert (back["number"], back["none"]) == (0.5, None)
    assert np.isnan(back["nan"])


@pytest.mark.parametrize(
    "body", [b"", b"\xc1", b"\x93\x01\x02\x03", pack({"a": 1})[4:], b"\x80" * 9]
)
def test_what_is_no_message_is_refused(body):
    with pytest.raises(WireError):
        unpack(body)


def test_arrays_of_objects_are_no_message():
    frame = pack({"kind": "x", "array": np.float64([1.0])})
    with pytest.raises(WireError, match="dtype 'object0'"):
        unpack(frame[4:].replace(b"float64", b"object0"))


def test_whoever_has_the_token_talks(link, heard):
    with connected(link) as connection:
        connection.sendall(pack({"kind": "input", "sequence": 1}))
        assert heard.get(timeout=5.0) == {"kind": "input", "sequence": 1}
        link.send({"kind": "notice", "text": "hello"})
        assert receive(connection, 1 << 20) == {"kind": "notice", "text": "hello"}


@pytest.mark.parametrize("token", ["", "t" * 64, TOKEN[:-1], 7, None])
def test_nobody_else_is_heard_or_told_anything(link, heard, token):
    link.send({"kind": "run", "folder": "secret"})
    with call(link, token) as connection:
        connection.sendall(pack({"kind": "input", "sequence": 1}))
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""
    assert heard.empty()
    assert link.refused["token"] == 1
    with call(link) as connection:  # the next one is welcome
        assert receive(connection, 1 << 20) == {"kind": "run", "folder": "secret"}


@pytest.mark.parametrize("size", [GREETING + 1, 0xFFFFFFFF])
def test_a_stranger_cannot_make_it_allocate(link, size):
    with socket.create_connection(("127.0.0.1", link.port), timeout=5.0) as connection:
        connection.sendall(size.to_bytes(4, "big") + b"x")
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""
    assert link.refused["broken"] == 1


def test_an_oversized_frame_ends_the_line_and_another_begins(link, heard):
    with call(link) as connection:
        connection.sendall(pack({"kind": "input", "junk": "x" * TO_RUN}))
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""
    with call(link) as connection:
        connection.sendall(pack({"kind": "input", "sequence": 2}))
        assert heard.get(timeout=5.0)["sequence"] == 2
    assert link.refused["broken"] == 1


def test_a_console_that_does_not_read_never_makes_the_loop_wait(link):
    picture = np.zeros((256, 256, 3), np.uint8)
    with connected(link):
        slowest = 0.0
        for number in range(STEPS_KEPT + 500):  # 200 MB that nobody reads
            started = time.perf_counter()
            link.send(step(number, observation={"images.top": picture}))
            slowest = max(slowest, time.perf_counter() - started)
        assert link.dropped > 0
        assert slowest < 0.1  # a thread of ours may hold the interpreter for a moment


def test_the_oldest_steps_are_dropped_and_nothing_else():
    box = Outbox()
    box.open()
    box.put({"kind": "episode", "episode": 1})
    for number in range(STEPS_KEPT + 3):
        box.put(step(number))
    box.put({"kind": "end", "episode": 1})
    taken = []
    while len(taken) < STEPS_KEPT + 2:
        taken += box.take()
    assert box.dropped == 3
    assert taken[0]["kind"] == "episode"
    assert [each["step"] for each in taken[1:-1]] == list(range(3, STEPS_KEPT + 3))
    assert taken[-1]["kind"] == "end"


def test_a_console_that_is_hopelessly_behind_is_let_go():
    box = Outbox()
    box.open()
    for number in range(OTHERS_KEPT + 1):
        box.put({"kind": "notice", "text": str(number)})
    assert box.take() is None  # the writer hangs up; it may connect again


def test_whoever_connects_later_is_told_what_there_is_to_know(link):
    link.send({"kind": "run", "folder": "here"})
    link.send({"kind": "episode", "episode": 1})
    link.send(step(0, episode=1))
    link.send({"kind": "episode", "episode": 2})
    image = np.zeros((4, 4, 3), np.uint8)
    link.send(step(0, episode=2, observation={"state": np.ones(3, np.float32), "images.a": image}))
    link.send({"kind": "notice", "text": "long ago"})
    link.send({"kind": "control", "phase": "waiting", "reason": ""})
    link.send({"kind": "control", "phase": "human", "reason": ""})
    for _ in range(2):  # and whoever connects again
        with call(link) as connection:
            told = [receive(connection, 1 << 20) for _ in range(4)]
        assert [each["kind"] for each in told] == ["run", "episode", "step", "control"]
        assert (told[1]["episode"], told[2]["episode"]) == (2, 2)
        assert list(told[2]["observation"]) == ["state"]  # pictures are old by then
        assert told[3]["phase"] == "human"


def test_what_was_said_before_the_end_is_still_sent(heard):
    link = RunLink(TOKEN, heard.put)
    with connected(link) as connection:
        for number in range(51):
            link.send({"kind": "notice", "text": str(number)})
        link.close()
        told = []
        while (message := receive(connection, 1 << 20)) is not None:
            told.append(message["text"])
    assert told == [str(number) for number in range(51)]


def test_it_ends_without_a_console(monkeypatch, heard):
    monkeypatch.setattr(link_module, "GREETING_S", 0.1)
    link = RunLink(TOKEN, heard.put)
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", link.port)):  # somebody who says nothing
        link.close()
    assert time.monotonic() - started < 2.5
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", link.port))
