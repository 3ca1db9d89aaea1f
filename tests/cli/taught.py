"""Recorded input of a person who knows the point mass: files for ``--operator.replay``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from silri.core.seeding import Stream, derive_seed
from silri.intervention.devices.events import InputWriter, RawEvent
from silri.intervention.devices.gamepad import GamepadDecoder
from tests.fakes.envs.gym_point import IDENTIFIER
from tests.fakes.envs.point import PointMass

HZ = 10
DRIVE = "rightshoulder"
# One decision of the file a step; the button 'a' is the gripper; nothing is lost of a deflection.
PAD = [
    *("--env", IDENTIFIER, "--env.gripper-dims", "3", "--operator", "gamepad"),
    *("--operator.gripper", "hold", "--operator.dead-zone", "0"),
    *("--operator.replay-hz", str(HZ), "--operator.replay"),
]

Moment = tuple[dict[str, float], tuple[str, ...]]  # motion, and the buttons that are held
IDLE: Moment = ({}, ())


def attempt(layout: int, *, steps: int | None = None) -> list[Moment]:
    """What a person does who solves the ``layout``-th demonstration, or its first ``steps``."""
    env = PointMass()
    env.reset(seed=derive_seed(0, Stream.DEMO_LAYOUT, layout))
    moments: list[Moment] = []
    done = False
    while not done and (steps is None or len(moments) < steps):
        action = env.env_spec.action.snap(env.privileged().expert_action)
        motion = dict(zip("xyz", map(float, action[:3]), strict=True))
        moments.append((motion, (DRIVE, "a") if action[3] > 0 else (DRIVE,)))
        _, _, terminated, truncated, _ = env.step(action)
        done = terminated or truncated
    return moments


def actions(moments: Iterable[Moment]) -> np.ndarray:
    """(T, 4) of those that drive."""
    rows = [
        [motion["x"], motion["y"], motion["z"], 1.0 if "a" in held else -1.0]
        for motion, held in moments
        if DRIVE in held
    ]
    return np.asarray(rows, np.float32)


def write(path: Path, moments: Sequence[Moment]) -> Path:
    """The file; moment ``i`` is decision ``i``."""
    decoder, writer = GamepadDecoder(), InputWriter(path, "gamepad")
    for index, (motion, held) in enumerate(moments):
        said = decoder.encode(motion, held)
        writer.write(RawEvent(index / HZ, kind, data) for kind, data in said)
    writer.close()
    return path
