"""What a policy sees of a Meta-World task: a camera at the table and one on the hand.

Nothing that only a person is shown is in these pictures. The markers of Meta-World's goals are:
where the goal is drawn anew for each layout, as in ``push`` and ``pick-place``, no sensor but the
camera could tell where it is. Real set-ups put a mark on the table.

*front* stands at the front right of the robot, as a person's camera on a tripod would; *wrist* is
Meta-World's ``gripperPOV``, beside the palm and looking down at the finger tips. Up in its picture
is away from the robot's base.

All that costs time without a graphics card and changes no pixel is left out: one renderer serves
both cameras, and whatever lies outside a camera's pyramid of view is not sent to it. Shadows,
reflections and antialiasing would be seen; they cost 20 times the rest and are off.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np

from silri.core.specs import ArraySpec
from silri.envs.mujoco_renderer import QuickRenderer, fixed_camera

FRONT, WRIST = "images.front", "images.wrist"
# The nearest place from which objects and goals of 48 of the fifty tasks are in the picture (not
# the goals of sweep and stick-pull). From further left the arm
# hides drawers and buttons.
_AZIMUTH, _ELEVATION, _DISTANCE = 135.0, -40.0, 0.9
_LOOK_AT = (0.0, 0.65, 0.15)  # metres
_ON_HAND = "gripperPOV"


class Cameras:
    """Draws what both cameras see of one simulation."""

    def __init__(self, model: Any, size: int) -> None:
        """Open the renderer.

        Args:
            model: MuJoCo's; only what decides how it looks is changed.
            size: pixels per side.

        Raises:
            EnvironmentFault: there is no OpenGL to draw with; says how to get some.
        """
        self._model = model
        self._renderer = QuickRenderer(model, size, "what the cameras see")
        self._cameras: Mapping[str, Any] = {
            FRONT: fixed_camera(_AZIMUTH, _ELEVATION, _DISTANCE, _LOOK_AT),
            WRIST: _ON_HAND,
        }

    @staticmethod
    def spec(size: int) -> dict[str, ArraySpec]:
        """Observation keys: (size, size, 3) uint8 each."""
        return {key: ArraySpec((size, size, 3), "uint8") for key in (FRONT, WRIST)}

    def draw(self, data: Any) -> dict[str, np.ndarray]:
        """What both see of a state, as :meth:`spec` says."""
        pictures = {}
        for key, camera in self._cameras.items():
            self._renderer.update_scene(data, camera=camera)
            self._leave_out_unseen(data)
            pictures[key] = self._renderer.render()
        return pictures

    def close(self) -> None:
        """Give the graphics memory back."""
        self._renderer.close()

    def _leave_out_unseen(self, data: Any) -> None:
        """Take geoms whose bounding sphere is outside the pyramid of view out of the scene."""
        scene, radius = self._renderer.scene, self._model.geom_rbound
        left, right = scene.camera  # two eyes, at the same place
        position = (left.pos + right.pos) / 2
        slope = left.frustum_top / left.frustum_near  # pictures are square: also to the sides
        across = np.cross(left.forward, left.up)
        inward = np.array(
            [slope * left.forward + sign * side for side in (left.up, across) for sign in (-1, 1)]
        ) / np.hypot(slope, 1.0)
        depth = ((data.geom_xpos - position) @ inward.T).min(axis=1)
        unseen = (depth < -radius) & (radius > 0)  # 0: a plane without end
        for geom in scene.geoms[: scene.ngeom]:
            if geom.objtype == mujoco.mjtObj.mjOBJ_GEOM and unseen[geom.objid]:
                geom.type = mujoco.mjtGeom.mjGEOM_NONE
