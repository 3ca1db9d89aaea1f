"""What an exception of somebody else's code comes to in one line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from silri.core.errors import ConfigError, SilriError

_DEBUG = "'silri --debug ...' shows the traceback"
# What MuJoCo, PyOpenGL and GLFW say where their library is not there. None of them names it.
_NO_OPENGL = re.compile(
    r"'NoneType' object has no attribute '(gl|egl|OSMesa)[A-Z]\w*'"
    r"|OpenGL platform library has not been loaded"
    r"|[Uu]nable to load (OpenGL|EGL|OSMesa)|gladLoadGL"
    r"|Cannot initialize a (headless )?EGL|[Ff]ailed to make .* context current"
    r"|lib(OSMesa|EGL|GL|glfw)[\w.]*\.so|(X11: .*|GLFW.*)DISPLAY|(?i:could not.*glfw|glfwerror)"
)


def said(error: BaseException) -> str:
    """``error`` in one line, with what to do if what it misses is OpenGL."""
    text = " ".join(str(error).split())
    kind = type(error).__name__
    return f"{kind}: {text}{opengl_hint(error)}" if text else f"{kind}{opengl_hint(error)}"


@contextmanager
def usable(what: str) -> Iterator[None]:
    """Around a use of code that is not silri's; its own errors pass, they name the thing already.

    Raises:
        ConfigError: any other exception; begins with ``what``.
    """
    try:
        yield
    except SilriError:
        raise
    # A simulator that is not installed, a device that is not there, a script that parses arguments.
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{what}: {said(error)} ({_DEBUG})") from error


def opengl_hint(error: BaseException) -> str:
    """What to install and to set where ``error`` comes from a missing OpenGL; else nothing."""
    if not any(_NO_OPENGL.search(f"{type(e).__name__} {e}") for e in _chain(error)):
        return ""
    chosen = os.environ.get("MUJOCO_GL")
    now = f"; it is '{chosen}' now" if chosen else ""
    return (
        " - OpenGL, which draws its pictures, is missing: install it (Debian, Ubuntu: apt install "
        f"libosmesa6, or libegl1 with a GPU) and set MUJOCO_GL=osmesa (or egl){now}"
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """``error`` and what it came from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
