"""A gamepad that exists only in SDL: the library sees it plugged in, moved and pulled out."""

from __future__ import annotations

import ctypes
from pathlib import Path

from silri.intervention.devices.gamepad import AXES, BUTTONS, import_sdl

GAMEPAD = 1  # SDL_JOYSTICK_TYPE_GAMECONTROLLER


def _sdl() -> ctypes.CDLL:
    """The library that pygame has loaded."""
    pygame = import_sdl()
    folder = Path(pygame.__file__).parent
    (path,) = folder.parent.glob("pygame*.libs/libSDL2-2*")
    sdl = ctypes.CDLL(str(path))
    sdl.SDL_JoystickOpen.restype = ctypes.c_void_p
    sdl.SDL_JoystickClose.argtypes = [ctypes.c_void_p]
    sdl.SDL_JoystickSetVirtualAxis.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int16]
    sdl.SDL_JoystickSetVirtualButton.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint8]
    return sdl


class VirtualPad:
    """Plugged in while the test has it."""

    def __init__(self) -> None:
        self._sdl = _sdl()
        self._joystick = None
        self.plug_in()

    def plug_in(self) -> None:
        self._index = self._sdl.SDL_JoystickAttachVirtual(GAMEPAD, len(AXES), len(BUTTONS), 0)
        assert self._index == 0
        self._joystick = self._sdl.SDL_JoystickOpen(self._index)

    def pull_out(self) -> None:
        if self._joystick is not None:
            assert self._sdl.SDL_JoystickDetachVirtual(self._index) == 0
            self._sdl.SDL_JoystickClose(self._joystick)
            self._joystick = None

    def move(self, axis: str, value: float) -> None:
        raw = round(32767 * value)
        assert self._sdl.SDL_JoystickSetVirtualAxis(self._joystick, AXES.index(axis), raw) == 0

    def press(self, button: str, down: bool = True) -> None:
        number = BUTTONS.index(button)
        assert self._sdl.SDL_JoystickSetVirtualButton(self._joystick, number, int(down)) == 0
