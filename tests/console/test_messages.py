"""What a page may say, and everything that it may not."""

from __future__ import annotations

import json

import pytest

from silri.console.messages import (
    MAX_BYTES,
    Ask,
    Drawn,
    GiveControl,
    Input,
    Ping,
    Refused,
    Rising,
    TakeControl,
    parse,
)
from silri.core.commands import Command

GOOD = {"type": "input", "sequence": 7, "time": 12.5, "axes": [0, -1, 0.5, 1], "hold": True}


def said(message):
    return parse(message if isinstance(message, str | bytes) else json.dumps(message), 4, 2)


@pytest.mark.parametrize(
    ("message", "means"),
    [
        (GOOD, Input(7, 12.5, (0.0, -1.0, 0.5, 1.0), True)),
        ({"type": "ping", "sequence": 0, "time": -3}, Ping(0, -3.0)),
        (
            {"type": "command", "command": "success", "episode": 3},
            Ask(Command.SUCCESS, 3),
        ),
        ({"type": "command", "command": "stop", "episode": None}, Ask(Command.STOP, None)),
        ({"type": "drawn", "camera": 1}, Drawn(1)),
        ({"type": "take_control"}, TakeControl()),
        ({"type": "give_control"}, GiveControl()),
    ],
)
def test_what_a_page_may_say(message, means):
    assert said(message) == means


NESTED = "[" * 2_000


@pytest.mark.parametrize(
    ("message", "kind", "text"),
    [
        (b"\x00\x01", "malformed", "a page speaks text"),
        ("", "malformed", "this is no JSON"),
        ("{'type': 'input'}", "malformed", "this is no JSON"),
        (NESTED, "malformed", "this is no JSON"),
        ("[1, 2]", "malformed", "a message is an object"),
        ("null", "malformed", "a message is an object"),
        ({}, "malformed", "there is no message of type 'None'"),
        ({"type": ["input"]}, "malformed", "there is no message of type"),
        ({"type": "step"}, "malformed", "there is no message of type 'step'"),
        ({"type": "input"}, "malformed", "'input' has the fields"),
        ({**GOOD, "episode": 3}, "malformed", "'input' has the fields"),
        ({**GOOD, "sequence": -1}, "malformed", "'sequence' takes a whole number from 0"),
        ({**GOOD, "sequence": 2**53}, "malformed", "'sequence' takes a whole number from 0"),
        ({**GOOD, "sequence": 1.0}, "malformed", "'sequence' takes a whole number from 0"),
        ({**GOOD, "sequence": True}, "malformed", "'sequence' takes a whole number from 0"),
        ({**GOOD, "time": "now"}, "malformed", "'time' takes a number"),
        ({**GOOD, "time": None}, "malformed", "'time' takes a number"),
        (json.dumps({**GOOD, "time": float("nan")}), "malformed", "'time' takes a number"),
        (json.dumps(GOOD).replace("12.5", "1e999"), "malformed", "'time' takes a number"),
        (json.dumps(GOOD).replace("12.5", "9" * 400), "malformed", "'time' takes a number"),
        ({**GOOD, "axes": [0, 0, 0]}, "malformed", "'axes' takes 4 numbers"),
        ({**GOOD, "axes": [0, 0, 0, 0, 0]}, "malformed", "'axes' takes 4 numbers"),
        ({**GOOD, "axes": "0000"}, "malformed", "'axes' takes 4 numbers"),
        ({**GOOD, "axes": {"x": 1}}, "malformed", "'axes' takes 4 numbers"),
        ({**GOOD, "axes": [0, 0, 0, 1.001]}, "malformed", "from -1 to 1"),
        ({**GOOD, "axes": [0, 0, None, 0]}, "malformed", "from -1 to 1"),
        ({**GOOD, "axes": [0, 0, True, 0]}, "malformed", "from -1 to 1"),
        (json.dumps({**GOOD, "axes": [0, 0, float("nan"), 0]}), "malformed", "from -1 to 1"),
        ({**GOOD, "hold": 1}, "malformed", "'hold' takes true or false"),
        ({"type": "command", "command": "success"}, "malformed", "'command' has the fields"),
        (
            {"type": "command", "command": "take", "episode": None},
            "malformed",
            "'command' takes one of pause, resume",
        ),
        ({"type": "command", "command": 3, "episode": None}, "malformed", "'command' takes one"),
        (
            {"type": "command", "command": "success", "episode": -1},
            "malformed",
            "'episode' takes a whole number",
        ),
        ({"type": "drawn", "camera": 2}, "malformed", "'camera' takes a whole number from 0 to 1"),
        (" " * (MAX_BYTES + 1), "oversized", f"a message takes {MAX_BYTES} characters, got 4097"),
    ],
)
def test_what_is_not_exactly_right_is_refused(message, kind, text):
    with pytest.raises(Refused) as refused:
        said(message)
    assert refused.value.kind == kind
    assert text in refused.value.text


def test_sequences_rise():
    rising = Rising()
    for sequence in (0, 1, 5):
        rising.check(sequence)
    for replayed in (5, 4, 0):
        with pytest.raises(Refused, match=f"input {replayed} comes after 5") as refused:
            rising.check(replayed)
        assert refused.value.kind == "replayed"
    rising.check(6)
