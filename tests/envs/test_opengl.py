"""What MuJoCo draws with is chosen once, by trying, and what is missing is named."""

from __future__ import annotations

import sys

import pytest

from silri.core.errors import EnvironmentFault
from silri.envs import opengl

INSTALLED = {"EGL", "OSMesa"}
CARD, SLOW = "NVIDIA H200/PCIe/SSE2", "llvmpipe (LLVM 19.1.7, 256 bits)"


@pytest.fixture
def machine(monkeypatch):
    """A machine: which libraries it has, and which draw."""

    def set_up(libraries, draw):
        tried = []

        def working(names):
            tried.extend(names)
            return {name: draw[name] for name in names if name in draw}

        monkeypatch.setattr("ctypes.util.find_library", lambda name: name in libraries or None)
        monkeypatch.setattr("sys.platform", "linux")
        monkeypatch.setattr(opengl, "working", working)
        return tried

    return set_up


@pytest.mark.parametrize(
    ("environment", "libraries", "draw", "chosen", "tried"),
    [
        ({"MUJOCO_GL": "glfw"}, INSTALLED, {"egl": CARD}, "glfw", []),
        ({"DISPLAY": ":0"}, INSTALLED, {"egl": CARD}, None, []),
        ({}, INSTALLED, {"egl": CARD, "osmesa": SLOW}, "egl", ["egl"]),
        ({}, INSTALLED, {"egl": SLOW, "osmesa": SLOW}, "osmesa", ["egl", "osmesa"]),
        ({}, INSTALLED, {"osmesa": SLOW}, "osmesa", ["egl", "osmesa"]),
        ({}, INSTALLED, {"egl": SLOW}, "egl", ["egl", "osmesa"]),
        ({}, {"OSMesa"}, {"osmesa": SLOW}, "osmesa", ["osmesa"]),
        ({}, {"EGL"}, {}, "disable", ["egl"]),
        ({}, set(), {}, "disable", []),
    ],
)
def test_what_draws_without_a_display(machine, environment, libraries, draw, chosen, tried):
    asked = machine(libraries, draw)
    opengl.choose(environment)
    assert environment.get("MUJOCO_GL") == chosen
    assert asked == tried
    opengl.choose(environment)  # what was found stands
    assert asked == tried if chosen else True


def test_software_does_not_take_every_core_but_what_the_user_says_stands(machine):
    machine({"OSMesa"}, {"osmesa": SLOW})
    mine, theirs = {}, {"LP_NUM_THREADS": "4"}
    opengl.choose(mine)
    opengl.choose(theirs)
    assert (mine["LP_NUM_THREADS"], theirs["LP_NUM_THREADS"]) == ("1", "4")


def test_what_is_missing_is_named_in_one_line(monkeypatch, machine):
    machine({"EGL"}, {})
    monkeypatch.delenv("MUJOCO_GL")
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(EnvironmentFault) as error:
        opengl.prepare("the scene")
    assert str(error.value) == (
        "the scene cannot be drawn (nothing draws here; EGL is installed, OSMesa is not "
        "installed): install OpenGL (apt install libosmesa6, or libegl1 with a GPU) and leave "
        "MUJOCO_GL unset, or set MUJOCO_GL=osmesa or MUJOCO_GL=egl"
    )


def test_who_turned_it_off_is_told_so(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "Off ")
    with pytest.raises(EnvironmentFault, match="it is turned off, MUJOCO_GL=off"):
        opengl.prepare("the scene")


@pytest.mark.skipif(sys.platform != "linux", reason="a backend of Linux")
def test_a_backend_that_mujoco_cannot_load_is_an_error_of_ours(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "nonsense")
    with pytest.raises(EnvironmentFault, match="cannot be drawn .*MUJOCO_GL: nonsense"):
        opengl.prepare("the scene")


def test_what_does_not_draw_does_not_work(monkeypatch):
    monkeypatch.setattr(opengl, "PROBE", "import os\nassert os.environ['MUJOCO_GL'] == 'osmesa'")
    assert opengl.working() == {"osmesa": ""}
