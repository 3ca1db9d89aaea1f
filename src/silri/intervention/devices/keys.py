"""Keys from what a terminal sends: ordinary terminals, and those that tell of a key's release.

An ordinary terminal says only that a key was pressed, again and again while it is held, and only
for the last one. Those with kitty's keyboard protocol (kitty, foot, WezTerm, Ghostty, Alacritty,
iTerm2, Konsole), also over SSH, say when a key goes up: several keys at once, and a stop at once.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

# CSI parameters letter, SS3 letter, or one character; a lone ESC may be the beginning of either.
_TOKEN = re.compile(r"\x1b\[([<=>?]?)([0-9;:]*)([A-Za-z~])|\x1bO([A-Z])|([^\x1b])", re.DOTALL)
_UNFINISHED = re.compile(r"\x1b(?:\[[<=>?]?[0-9;:]*|O)?$")
_LETTERS = {"A": "up", "B": "down", "C": "right", "D": "left", "H": "home", "F": "end"}
_NUMBERS = {"5": "pageup", "6": "pagedown", "2": "insert", "3": "delete"}
_NAMES = {" ": "space", "\r": "enter", "\n": "enter", "\x7f": "backspace", "\x08": "backspace"}
_SHIFT, _CTRL = 1, 4

ASK_KITTY = "\x1b[?u"  # answered with CSI ? flags u by terminals that know the protocol
# Tell keys apart (1), their releases (2), of all keys (8); and when the window loses the focus.
ENTER_KITTY, LEAVE_KITTY = "\x1b[>11u\x1b[?1004h", "\x1b[?1004l\x1b[<u"
KITTY_ANSWER = re.compile(r"\x1b\[\?\d+u")
KITTY_INTERRUPT = re.compile(r"\x1b\[99;5(?::1)?u")  # Ctrl-C, which is no signal there


class Key(NamedTuple):
    """One event of a key.

    Attributes:
        name: ``a``, ``Q``, ``up``, ``space`` ...; ``focus-out`` when the window loses the focus.
        kind: an ordinary terminal knows only ``press``.
    """

    name: str
    kind: Literal["press", "repeat", "release"]


class KeyParser:
    """Turns text into keys; what is cut in the middle of a sequence waits for its rest."""

    def __init__(self) -> None:
        self._rest = ""

    def feed(self, text: str) -> list[Key]:
        """The keys in ``text``; sequences that are no key are left out."""
        text = self._rest + text
        self._rest = ""
        if unfinished := _UNFINISHED.search(text):
            self._rest, text = unfinished[0], text[: unfinished.start()]
            if len(self._rest) > 32:
                self._rest = ""  # nothing that a terminal sends is as long
        keys = (self._key(match) for match in _TOKEN.finditer(text))
        return [key for key in keys if key is not None]

    def _key(self, match: re.Match[str]) -> Key | None:
        private, parameters, final, ss3, character = match.groups()
        if character is not None:
            name = _NAMES.get(character, character)
            return Key(name, "press") if name.isprintable() else None
        if ss3 is not None:
            return Key(_LETTERS[ss3], "press") if ss3 in _LETTERS else None
        if private:
            return None  # an answer
        if final == "O" and not parameters:
            return Key("focus-out", "press")
        return self._sequence(parameters.split(";"), final)

    def _sequence(self, parameters: list[str], final: str) -> Key | None:
        """``CSI code ; modifiers : event final``."""
        code = parameters[0].partition(":")[0]
        modifiers, _, event = (parameters[1] if len(parameters) > 1 else "").partition(":")
        bits = max(int(modifiers or 1) - 1, 0)
        if bits & _CTRL:
            return None
        if final == "u" and code:
            name = chr(int(code)) if int(code) < 0xE000 else ""  # above: modifier keys and the like
            name = _NAMES.get(name, name.upper() if bits & _SHIFT else name)
        else:
            name = _NUMBERS.get(code, "") if final == "~" else _LETTERS.get(final, "")
        if not name or not name.isprintable():
            return None
        return Key(name, "release" if event == "3" else "repeat" if event == "2" else "press")
