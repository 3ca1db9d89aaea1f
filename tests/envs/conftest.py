"""What the tests of simulators share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from silri.envs import opengl


@pytest.fixture(scope="module")
def drawing() -> Iterator[None]:
    """OpenGL for this module; the other tests turn it off."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MUJOCO_GL")
        patch.setenv("LP_NUM_THREADS", "1")
        opengl.choose()
        if not opengl.working(["egl", "osmesa"]):
            pytest.skip("no OpenGL draws here: apt install libosmesa6")
        yield
