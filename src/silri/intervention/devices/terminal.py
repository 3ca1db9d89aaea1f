"""The keyboard of a terminal: no display server, no permission, works over SSH."""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import select
import signal
import sys
import termios
import threading
import tty
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any, ClassVar

from silri.core.errors import ConfigError
from silri.core.registry import Preset
from silri.core.settings import NonNegative, Positive, Share01, settings
from silri.intervention.devices.config import DeviceConfig, preset_for
from silri.intervention.devices.device import Controls, Device
from silri.intervention.devices.events import RawEvent
from silri.intervention.devices.keys import (
    ASK_KITTY,
    ENTER_KITTY,
    KITTY_ANSWER,
    KITTY_INTERRUPT,
    LEAVE_KITTY,
    KeyParser,
)

KEYS: Mapping[str, tuple[str, float]] = {
    "up": ("x", 1.0), "down": ("x", -1.0), "left": ("y", 1.0), "right": ("y", -1.0),
    "w": ("z", 1.0), "s": ("z", -1.0), "pageup": ("z", 1.0), "pagedown": ("z", -1.0),
    "a": ("yaw", 1.0), "d": ("yaw", -1.0), "e": ("roll", 1.0), "q": ("roll", -1.0),
    "k": ("pitch", 1.0), "i": ("pitch", -1.0),
}  # fmt: skip
AGAIN_S = 0.35  # the same key within this time is the terminal's repetition, not a second press
# A terminal that tells of releases repeats the key that is held: one that does not is not there.
SILENT_S = 1.0


@settings("operator")
class TerminalConfig(DeviceConfig):
    """The keyboard of this terminal: who presses a key drives."""

    buttons: ClassVar[Mapping[str, str]] = {
        "space": "gripper", "enter": "success", "x": "failure", "r": "reset", "z": "discard",
        "p": "pause", "t": "take", ".": "faster", ",": "slower", "Q": "stop",
    }  # fmt: skip

    # deflection below which nothing moves; a key has no small ones
    dead_zone: Share01 = 0.0
    # seconds that the person keeps control after the last motion: longer than a terminal waits
    # before it repeats a key that is held
    linger_s: NonNegative = 0.7
    # seconds that a key counts as held after its last repetition
    hold_s: Positive = 0.15

    def legend(self) -> str:
        """Which key does what."""
        return (
            "Keys: arrows forward, back, left, right; w s up, down; a d yaw; q e roll; i k pitch."
        )


class TerminalDecoder:
    """What a terminal sends."""

    _until: dict[str, float]
    _last: dict[str, float]
    _pressed: list[str]

    def __init__(self, hold_s: float) -> None:
        self._hold = hold_s
        self._tells = False  # of releases
        self.release()

    def feed(self, event: RawEvent) -> None:
        """``text``: what was sent; ``protocol`` kitty: from now on it tells of releases."""
        if event.kind == "protocol":
            self._tells = event.data == "kitty"
        elif event.kind == "text" and isinstance(event.data, str):
            for key in self._parser.feed(event.data):
                self._key(key.name, key.kind, event.time)

    def read(self, now: float) -> Controls:
        """See :class:`~silri.intervention.devices.device.Decoder`."""
        if self._tells and now - self._heard > SILENT_S:
            self._until.clear()
        self._until = {name: until for name, until in self._until.items() if until > now}
        motion: dict[str, float] = {}
        for name in self._until:
            if name in KEYS:
                axis, sign = KEYS[name]
                motion[axis] = max(-1.0, min(1.0, motion.get(axis, 0.0) + sign))
        pressed, self._pressed = tuple(self._pressed), []
        return Controls(motion, frozenset(self._until), pressed)

    def release(self) -> None:
        """No key is held."""
        self._parser = KeyParser()
        self._until, self._last, self._pressed = {}, {}, []
        self._heard = 0.0

    def encode(self, motion: Mapping[str, float], held: Sequence[str]) -> list[tuple[str, Any]]:
        """The keys that say so, of a terminal that tells of releases; whole deflections only."""
        wanted = [(axis, math.copysign(1.0, value)) for axis, value in motion.items() if value]
        names = [next(key for key, does in KEYS.items() if does == want) for want in wanted]
        names += list(held)
        up = "".join(self._sequence(name, 3) for name in (*KEYS, *TerminalConfig.buttons))
        down = "".join(self._sequence(name, 1) for name in names)
        return [("protocol", "kitty"), ("text", up + down)]

    def _key(self, name: str, kind: str, at: float) -> None:
        self._heard = at
        if name == "focus-out":
            self._until.clear()
            return
        if kind == "release":
            self._until.pop(name, None)
            return
        again = kind == "repeat" if self._tells else at - self._last.get(name, -1e9) < AGAIN_S
        self._last[name] = at
        self._until[name] = math.inf if self._tells else at + self._hold
        if not again:
            self._pressed.append(name)

    @staticmethod
    def _sequence(name: str, event: int) -> str:
        letters = {"up": "A", "down": "B", "right": "C", "left": "D"}
        numbers = {"pageup": 5, "pagedown": 6}
        if name in letters:
            return f"\x1b[1;1:{event}{letters[name]}"
        if name in numbers:
            return f"\x1b[{numbers[name]};1:{event}~"
        character = {"space": " ", "enter": "\r"}.get(name, name)
        shift = 2 if character.isupper() else 1
        return f"\x1b[{ord(character.lower())};{shift}:{event}u"


def terminal_path() -> str:
    """The terminal that this process has.

    Raises:
        ConfigError: it has none.
    """
    if sys.__stdin__ is not None and not sys.__stdin__.closed and os.isatty(0):
        return os.ttyname(0)
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError as error:
        raise ConfigError(
            "operator 'terminal' needs a terminal, and this process has none: start it in one "
            "(with ssh: ssh -t), or choose another operator"
        ) from error
    return "/dev/tty"


class TerminalHandle:
    """The terminal, read key by key. However the process ends, it is as it was."""

    def __init__(self) -> None:
        """Read keys at once and without echo; Ctrl-C stays what it is.

        Raises:
            ConfigError: there is no terminal.
        """
        path = terminal_path()
        # Opened anew: whether it blocks is then nobody else's matter.
        self._fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self._lock, self._closed, self._kitty = threading.Lock(), False, False
        self._saved = termios.tcgetattr(self._fd)
        self._handlers: dict[int, Any] = {}
        atexit.register(self.close)
        self._restore_on_signals()
        tty.setcbreak(self._fd, termios.TCSANOW)
        self._write(ASK_KITTY)

    def read(self, timeout: float) -> Sequence[tuple[str, Any]]:
        """What was typed.

        Raises:
            OSError: the terminal is gone.
        """
        if not select.select([self._fd], [], [], timeout)[0]:
            return []
        data = os.read(self._fd, 4096)
        if not data:
            raise OSError("the terminal was closed")
        text = data.decode("utf-8", errors="replace")
        events: list[tuple[str, Any]] = [("text", text)]
        if KITTY_ANSWER.search(text) and not self._kitty:
            self._kitty = True
            self._write(ENTER_KITTY)
            events.append(("protocol", "kitty"))
        if self._kitty and KITTY_INTERRUPT.search(text):
            os.kill(os.getpid(), signal.SIGINT)
        return events

    def close(self) -> None:
        """Give the terminal back as it was; may be called again."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._kitty:
                self._write(LEAVE_KITTY)
            with contextlib.suppress(termios.error):  # a terminal that is gone needs nothing
                termios.tcsetattr(self._fd, termios.TCSANOW, self._saved)
            os.close(self._fd)
        atexit.unregister(self.close)
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._handlers.items():
                if signal.getsignal(number) == self._on_signal:
                    signal.signal(number, handler)

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # full or gone: nothing that is needed is lost
            os.write(self._fd, text.encode())

    def _restore_on_signals(self) -> None:
        """A signal that nobody handles ends the process without Python's exit handlers."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                self._handlers[number] = signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.close()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


class Terminal(Device):
    """Chosen by ``--operator terminal``."""

    kind: ClassVar[str] = "terminal"
    Config: ClassVar[type[DeviceConfig]] = TerminalConfig
    presets: ClassVar[Mapping[str, Preset]] = preset_for(
        TerminalConfig(), "the keyboard of this terminal, also over SSH; who presses a key drives"
    )

    @classmethod
    def open_device(cls, config: DeviceConfig, name: str) -> TerminalHandle:
        """This process's terminal."""
        del config, name
        return TerminalHandle()

    @classmethod
    def make_decoder(cls, config: DeviceConfig) -> TerminalDecoder:
        """Of what terminals send."""
        return TerminalDecoder(config.hold_s if isinstance(config, TerminalConfig) else 0.15)
