"""Our environment over the real lerobot's robots: a simulated one of its interface, and its own.

Run by lerobot's Python, see arm.sh. The robot is a plug-in as somebody would write one, with
lerobot's own base class, configuration and camera types. No hardware is touched: lerobot's arms are
to be refused with the reason.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

import lerobot
import numpy as np
from lerobot.cameras import CameraConfig
from lerobot.robots import Robot, RobotConfig

from silri.core.errors import SilriError
from silri.envs.registry import create_env
from silri.envs.robots.config import ArmConfig

JOINTS = ("pan", "lift", "gripper")
CAMERA = ("type=opencv", "index_or_path=0", "width=64", "height=48", "fps=30")


@RobotConfig.register_subclass("silri_bench")
@dataclass
class BenchConfig(RobotConfig):
    """Of the simulated arm."""

    port: str = ""
    cameras: dict[str, CameraConfig] = field(default_factory=dict)


class Bench(Robot):
    """Joints that are where they are told to be."""

    config_class = BenchConfig
    name = "silri_bench"

    def __init__(self, config: BenchConfig) -> None:
        super().__init__(config)
        self.config, self.connected = config, False
        self.at = {f"{name}.pos": 0.0 for name in JOINTS}

    @property
    def observation_features(self) -> dict[str, Any]:
        """Joints and pictures."""
        pictures = {name: (c.height, c.width, 3) for name, c in self.config.cameras.items()}
        return {**self.action_features, **pictures}

    @property
    def action_features(self) -> dict[str, Any]:
        """Joints."""
        return dict.fromkeys(self.at, float)

    @property
    def is_connected(self) -> bool:
        """Between connect and disconnect."""
        return self.connected

    def connect(self, calibrate: bool = True) -> None:
        """Nothing to open."""
        assert not calibrate
        self.connected = True

    @property
    def is_calibrated(self) -> bool:
        """Always."""
        return True

    def calibrate(self) -> None:
        """Nothing to do."""

    def configure(self) -> None:
        """Nothing to do."""

    def get_observation(self) -> dict[str, Any]:
        """Where it is, and grey pictures."""
        features = self.observation_features
        pictures = {n: np.full(s, 128, np.uint8) for n, s in features.items() if s is not float}
        return {**self.at, **pictures}

    def send_action(self, action: dict[str, Any]) -> dict[str, Any]:
        """At once."""
        self.at = dict(action)
        return action

    def disconnect(self) -> None:
        """Nothing to close."""
        self.connected = False


def main() -> None:
    """Drive the simulated arm, then ask for one of lerobot's own."""
    sys.modules["silri_bench"] = sys.modules[__name__]  # where lerobot looks for the class
    BenchConfig.__module__ = "silri_bench"
    print(f"lerobot {lerobot.__version__}")
    options = ("port=here", "id=silri_bench", *(f"cameras.front.{part}" for part in CAMERA))
    env = create_env("lerobot:silri_bench", ArmConfig(options=options))
    observation, _ = env.reset()
    env.env_spec.validate_observation(observation)
    following, *_, info = env.step(np.array([0.5, -0.5, 1.0], np.float32))
    env.env_spec.validate_observation(following)
    print("executed", np.round(info["executed"], 3).tolist())
    env.close()
    try:
        create_env("lerobot:so101_follower", ArmConfig(options=("port=/dev/none", "id=none")))
    except SilriError as error:
        print(f"refused: {error}")


if __name__ == "__main__":
    main()
