"""Pictures of a Meta-World task for a person: one camera, upright, quick without a graphics card.

Meta-World's own cameras hang upside down, and their pictures take most of a second in software.
This one stands at the front right of the robot and looks down on the table. Shadows would cost
more than all the rest; a plumb line shows instead above which place the hand is.
"""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from silri.envs.mujoco_renderer import QuickRenderer, fixed_camera, seen_from

SIZE = 256  # pixels
_AZIMUTH, _ELEVATION, _DISTANCE = 135.0, -35.0, 1.25
_LOOK_AT = (0.03, 0.63, 0.1)  # metres
_LINE, _LINE_WIDTH = (1.0, 0.85, 0.2, 0.8), 0.0025  # colour; metres


class View:
    """Draws the state of one simulation."""

    def __init__(self, model: Any) -> None:
        """Open a renderer.

        Args:
            model: MuJoCo's; only what decides how it looks is changed.

        Raises:
            EnvironmentFault: there is no OpenGL to draw with; says how to get some.
        """
        self._renderer = QuickRenderer(model, SIZE, "the scene")
        self._hand = model.body("hand").id
        self._camera = fixed_camera(_AZIMUTH, _ELEVATION, _DISTANCE, _LOOK_AT)

    def draw(self, data: Any) -> np.ndarray:
        """(SIZE, SIZE, 3) uint8 of a state."""
        self._renderer.update_scene(data, camera=self._camera)
        self._plumb_line(data.xpos[self._hand])
        return self._renderer.render()

    def _plumb_line(self, hand: np.ndarray) -> None:
        """From the hand down to the table."""
        scene = self._renderer.scene
        if scene.ngeom >= scene.maxgeom:
            return
        line = scene.geoms[scene.ngeom]
        scene.ngeom += 1
        nowhere, colour = np.zeros(3), np.array(_LINE, np.float32)
        kind = mujoco.mjtGeom.mjGEOM_CAPSULE
        mujoco.mjv_initGeom(line, kind, nowhere, nowhere, np.eye(3).ravel(), colour)
        below = np.array([hand[0], hand[1], 0.0])
        mujoco.mjv_connector(line, kind, _LINE_WIDTH, hand, below)

    def close(self) -> None:
        """Give the graphics memory back."""
        self._renderer.close()

    @staticmethod
    def directions() -> list[list[float]]:
        """Where +1 of the actions x, y, z and gripper goes in a picture: (right, up) each."""
        return [*seen_from(_AZIMUTH, _ELEVATION), [0.0, 0.0]]
