"""Keys from what terminals really send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silri.intervention.devices.keys import Key, KeyParser


def keys(*chunks):
    parser = KeyParser()
    return [key for chunk in chunks for key in parser.feed(chunk)]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a", "a"), ("Q", "Q"), (" ", "space"), ("\r", "enter"), ("\x7f", "backspace"),
        ("\x1b[A", "up"), ("\x1bOB", "down"), ("\x1b[5~", "pageup"), ("\x1b[1;2C", "right"),
    ],
)  # fmt: skip
def test_an_ordinary_terminal_s_keys(text, name):
    assert keys(text) == [Key(name, "press")]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("\x1b[97u", Key("a", "press")),
        ("\x1b[97;1:1u", Key("a", "press")),
        ("\x1b[97;1:2u", Key("a", "repeat")),
        ("\x1b[97;1:3u", Key("a", "release")),
        ("\x1b[113;2u", Key("Q", "press")),
        ("\x1b[32;1:3u", Key("space", "release")),
        ("\x1b[13u", Key("enter", "press")),
        ("\x1b[1;1:3A", Key("up", "release")),
        ("\x1b[6;1:2~", Key("pagedown", "repeat")),
        ("\x1b[O", Key("focus-out", "press")),
    ],
)
def test_the_keys_of_one_that_tells_of_releases(text, key):
    assert keys(text) == [key]


@pytest.mark.parametrize(
    "text",
    ["\x1b[?0u", "\x1b[?62;c", "\x1b[I", "\x1b[99;5u", "\x1b[57441;2u", "\x00", "\x03", "\x1b[9~"],
)
def test_what_is_no_key_is_none(text):
    assert keys(text) == []
    assert keys(text + "a") == [Key("a", "press")]


def test_a_sequence_may_come_in_pieces():
    assert keys("a\x1b", "[", "1;1:", "3A", "b") == [
        Key("a", "press"), Key("up", "release"), Key("b", "press"),
    ]  # fmt: skip


def test_a_lone_escape_does_not_swallow_what_follows_for_ever():
    assert keys("\x1b" + "[1;" * 20, "a")[-1] == Key("a", "press")


@given(st.text(alphabet="\x1b[O;:?<>123456789~uABCax \r", max_size=40), st.integers(0, 40))
def test_nothing_that_is_sent_breaks_it_nor_does_where_it_is_cut(text, cut):
    parser = KeyParser()
    assert keys(text[:cut], text[cut:]) == keys(text)
    for key in parser.feed(text):
        assert key.name.isprintable()
