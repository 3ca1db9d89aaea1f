"""Simulated arms that a test holds: ``HELD`` is the last one that was made."""

from dataclasses import dataclass, field

import numpy as np
from lerobot.cameras import CameraConfig
from lerobot.robots import Robot, RobotConfig

HELD: list = []
FOLLOWS = 0.6  # share of the way to its target that a joint makes between command and sensing


@RobotConfig.register_subclass("bench_arm")
@dataclass(kw_only=True)
class BenchArmConfig(RobotConfig):
    port: str
    cameras: dict[str, CameraConfig] = field(default_factory=dict)
    max_relative_target: float | None = None
    joints: str = "pan lift gripper"


class BenchArm(Robot):
    """Joints follow their targets with a lag; ``walls`` hold them, a cable can be pulled."""

    config_class = BenchArmConfig
    name = "bench_arm"

    def __init__(self, config):
        super().__init__(config)
        self.config, self.names = config, config.joints.split()
        self.at = dict.fromkeys(self.names, 10.0)
        self.targets = dict(self.at)
        self.walls: dict = {}
        self.plugged, self.connected, self.calibrated = True, False, True
        self.sent, self.pictures = [], 0
        HELD.append(self)

    @property
    def observation_features(self):
        cameras = {
            name: (camera.height, camera.width, 3) for name, camera in self.config.cameras.items()
        }
        return {**self.action_features, **cameras}

    @property
    def action_features(self):
        return {f"{name}.pos": float for name in self.names}

    @property
    def is_connected(self):
        return self.connected

    @property
    def is_calibrated(self):
        return self.calibrated

    def connect(self, calibrate=True):
        assert not calibrate, "it would ask questions in the middle of a run"
        if self.config.port == "/dev/none":
            raise ConnectionError("Could not connect on port '/dev/none'.\nIs it there?")
        self.connected = True

    def calibrate(self):
        raise AssertionError("nobody asked for it")

    def configure(self):
        pass

    def get_observation(self):
        self._check()
        seen = {}
        for name in self.names:
            at = self.at[name] + FOLLOWS * (self.targets[name] - self.at[name])
            self.at[name] = min(at, self.walls.get(name, np.inf))
            seen[f"{name}.pos"] = self.at[name]
        for name, camera in self.config.cameras.items():
            self.pictures += 1
            seen[name] = np.full((camera.height, camera.width, 3), self.pictures % 256, np.uint8)
        return seen

    def send_action(self, action):
        self._check()
        most = self.config.max_relative_target
        goal = {key.removesuffix(".pos"): value for key, value in action.items()}
        if most is not None:
            goal = {
                n: float(np.clip(v, self.at[n] - most, self.at[n] + most)) for n, v in goal.items()
            }
        self.targets |= goal
        self.sent.append(dict(goal))
        return {f"{name}.pos": value for name, value in goal.items()}

    def disconnect(self):
        self._check()
        self.connected = False

    def _check(self):
        if not (self.connected and self.plugged):
            raise ConnectionError("There is no status packet!\n(code -6)")


@RobotConfig.register_subclass("bench_base")
@dataclass(kw_only=True)
class BenchBaseConfig(BenchArmConfig):
    port: str = ""


class BenchBase(BenchArm):
    """Wheels, which have velocities."""

    config_class = BenchBaseConfig
    name = "bench_base"

    @property
    def action_features(self):
        return {"pan.pos": float, "x.vel": float, "theta.vel": float}
