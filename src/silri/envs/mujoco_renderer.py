"""MuJoCo's renderer, quick in software and safe beside others in one process."""

from __future__ import annotations

import math
import weakref
from typing import Any

import mujoco

from silri.envs import opengl

_abandoned: list[tuple[Any, Any]] = []  # contexts whose renderer nobody closed


class QuickRenderer(mujoco.Renderer):
    """Square pictures, without shadows, reflections and antialiasing.

    Upstream's ``close`` destroys its OpenGL context first and then deletes textures and meshes by
    their numbers, in whichever context is current: those of another simulation's renderer, whose
    pictures are blank from then on. Here each deletes its own. What was never closed waits until
    the next picture, so that garbage collection does not switch contexts in the middle of one.
    """

    def __init__(self, model: Any, size: int, what: str) -> None:
        """Open a renderer.

        Args:
            model: MuJoCo's; only what decides how it looks is changed.
            size: pixels per side.
            what: is to be drawn, for the error.

        Raises:
            EnvironmentFault: there is no OpenGL to draw with; says how to get some.
        """
        # In software, antialiasing and three shadows of 4096 pixels cost 20 times the rest.
        model.vis.quality.offsamples = 0
        model.vis.quality.shadowsize = 0
        opengl.prepare(what)
        try:
            super().__init__(model, size, size)
        except (AttributeError, ImportError, RuntimeError, mujoco.FatalError) as error:
            raise opengl.unavailable(what, " ".join(str(error).split())) from error
        flags = self.scene.flags
        flags[mujoco.mjtRndFlag.mjRND_SHADOW] = flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        self._contexts: tuple[Any, Any] = vars(self)["_gl_context"], vars(self)["_mjr_context"]
        self._abandon = weakref.finalize(self, _abandoned.append, self._contexts)
        self._abandon.atexit = False  # the process ends, and takes them along

    def render(self, **options: Any) -> Any:
        """See upstream."""
        while _abandoned:
            _free(*_abandoned.pop())
        return super().render(**options)

    def close(self) -> None:
        """Give the graphics memory back."""
        if self._abandon.detach() is not None:
            _free(*self._contexts)
        self._gl_context = self._mjr_context = None

    def __del__(self) -> None:
        """Not upstream's, which closes: see the class."""


def free(renderer: mujoco.Renderer) -> None:
    """Close a renderer that is not ours, without harm to others."""
    inside = vars(renderer)
    _free(inside["_gl_context"], inside["_mjr_context"])
    inside["_gl_context"] = inside["_mjr_context"] = None


def _free(context: Any, objects: Any) -> None:
    context.make_current()
    objects.free()
    context.free()


def fixed_camera(
    azimuth: float, elevation: float, distance: float, look_at: tuple[float, float, float]
) -> mujoco.MjvCamera:
    """A camera that stands still; degrees and metres, as MuJoCo means them."""
    camera = mujoco.MjvCamera()
    camera.azimuth, camera.elevation, camera.distance = azimuth, elevation, distance
    camera.lookat[:] = look_at
    return camera


def seen_from(azimuth: float, elevation: float) -> list[list[float]]:
    """Where x, y and z go in the picture of a camera (degrees): (right, up) each."""
    a, e = math.radians(azimuth), math.radians(elevation)
    right = (math.sin(a), -math.cos(a), 0.0)
    up = (-math.sin(e) * math.cos(a), -math.sin(e) * math.sin(a), math.cos(e))
    return [[round(r, 4), round(u, 4)] for r, u in zip(right, up, strict=True)]
