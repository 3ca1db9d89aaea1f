"""What MuJoCo draws with: the one place where that is decided.

MuJoCo reads ``MUJOCO_GL`` when it is imported, and without it wants a display. So whoever is about
to draw calls :func:`prepare` first. What the user says stands. Without a display, EGL is tried, and
where it has no graphics card (or is not there) OSMesa, the quicker of the two in software. Whether
one works is only known by drawing, and one that does not work may spoil the process: each is tried
in a process of its own. What was found is kept in ``MUJOCO_GL``, so that the processes that this
one starts need not try again.
"""

from __future__ import annotations

import ctypes.util
import importlib
import os
import subprocess
import sys
from collections.abc import MutableMapping, Sequence

from silri.core.errors import EnvironmentFault

BACKENDS = ("egl", "osmesa")  # that draw without a display, best first
OFF = ("disable", "disabled", "off", "false", "0")  # of MUJOCO_GL: MuJoCo loads nothing
PROBE_S = 60.0  # a backend that has drawn nothing by then hangs
INSTALL = "apt install libosmesa6, or libegl1 with a GPU"
_NOTHING = "disable"  # what silri itself writes
_LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}
PROBE = """
import mujoco
model = mujoco.MjModel.from_xml_string('<mujoco><worldbody><geom size="1"/></worldbody></mujoco>')
with mujoco.Renderer(model, 16, 16) as renderer:
    renderer.update_scene(mujoco.MjData(model))
    assert renderer.render().shape == (16, 16, 3)
    if mujoco.gl_context._MUJOCO_GL in ("egl", "osmesa"):
        from OpenGL import GL
        print(GL.glGetString(GL.GL_RENDERER).decode())
"""
_SOFTWARE = ("llvmpipe", "softpipe", "swrast", "software")  # in the name of an OpenGL renderer


def working(backends: Sequence[str] = BACKENDS) -> dict[str, str]:
    """Those of ``backends`` with which MuJoCo draws here; all are tried at the same time.

    Returns:
        Their names to what OpenGL calls the renderer, empty where it is not asked.
    """
    running = {
        name: subprocess.Popen(
            [sys.executable, "-c", PROBE],
            env={**os.environ, "MUJOCO_GL": name},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for name in backends
    }
    said = {name: _said(process) for name, process in running.items()}
    return {name: renderer for name, renderer in said.items() if renderer is not None}


def choose(environment: MutableMapping[str, str] = os.environ) -> None:
    """Write into ``environment`` what MuJoCo is to draw with, where nobody has said it.

    With a display nothing is written: MuJoCo finds it. Where nothing works, drawing is turned off,
    and :func:`prepare` says why.
    """
    if sys.platform != "linux" or environment.get("MUJOCO_GL") or environment.get("DISPLAY"):
        return
    # One after the other: with a graphics card the second is not tried.
    found: dict[str, str] = {}
    for name in BACKENDS:
        if _installed(name):
            found |= working([name])
        if any(not _in_software(renderer) for renderer in found.values()):
            break
    # Both in software: OSMesa's pictures took half the time of EGL's.
    environment["MUJOCO_GL"] = next(reversed(found), _NOTHING)
    # Mesa in software takes every core it finds; learning needs them more.
    environment.setdefault("LP_NUM_THREADS", "1")


def prepare(what: str) -> None:
    """Make MuJoCo ready to draw in this process; it may have been imported before.

    Args:
        what: is to be drawn, for the error.

    Raises:
        EnvironmentFault: there is no OpenGL to draw with; says what is missing, what to install
            and what to set.
    """
    choose()
    chosen = os.environ.get("MUJOCO_GL", "").lower().strip()
    if chosen in OFF:
        turned_off = f"it is turned off, MUJOCO_GL={chosen}"
        raise unavailable(what, "nothing draws here" if chosen == _NOTHING else turned_off)
    try:
        import mujoco

        loaded = mujoco.gl_context._MUJOCO_GL
        if loaded != chosen:  # it was imported before anybody wanted to draw
            importlib.reload(mujoco.gl_context)
    except (AttributeError, ImportError, RuntimeError) as error:
        raise unavailable(what, " ".join(str(error).split())) from error


def unavailable(what: str, why: str) -> EnvironmentFault:
    """The error where ``what`` cannot be drawn: which libraries are missing, and the remedy."""
    states = [
        f"{library} {'is installed' if _installed(name) else 'is not installed'}"
        for name, library in _LIBRARIES.items()
    ]
    return EnvironmentFault(
        f"{what} cannot be drawn ({why}; {', '.join(states)}): install OpenGL ({INSTALL}) and "
        "leave MUJOCO_GL unset, or set MUJOCO_GL=osmesa or MUJOCO_GL=egl"
    )


def _installed(backend: str) -> bool:
    return ctypes.util.find_library(_LIBRARIES[backend]) is not None


def _in_software(renderer: str) -> bool:
    return any(word in renderer.lower() for word in _SOFTWARE)


def _said(process: subprocess.Popen[str]) -> str | None:
    """What a probe printed; None if it failed."""
    try:
        out, _ = process.communicate(timeout=PROBE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return None
    return out.strip() if process.returncode == 0 else None
