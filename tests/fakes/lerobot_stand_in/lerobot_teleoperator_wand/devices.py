"""Devices that a test holds: ``HELD`` is the last one that was made."""

from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from lerobot.teleoperators import Teleoperator, TeleoperatorConfig, TeleopEvents

HELD: list = []


class Side(Enum):
    LEFT = "left"
    RIGHT = "right"


@dataclass(kw_only=True)
class Port:
    path: str = "/dev/null"
    baud: int = 9600


@TeleoperatorConfig.register_subclass("wand")
@dataclass(kw_only=True)
class WandConfig(TeleoperatorConfig):
    side: Side = Side.LEFT
    fast: bool = False
    port: Port = field(default_factory=Port)


class Base(Teleoperator):
    """What all three share: connecting, and a cable that can be pulled."""

    def __init__(self, config):
        super().__init__(config)
        self.config = config
        self.plugged, self.connected, self.calibrated = True, False, True
        HELD.append(self)

    @property
    def feedback_features(self):
        return {}

    @property
    def is_connected(self):
        return self.connected

    @property
    def is_calibrated(self):
        return self.calibrated

    def connect(self, calibrate=True):
        assert not calibrate, "it would ask questions in the middle of a run"
        self.connected = True

    def calibrate(self):
        raise AssertionError("nobody asked for it")

    def configure(self):
        pass

    def check(self):
        if not (self.connected and self.plugged):
            raise RuntimeError("There is no status packet!\n(code -6)")

    def send_feedback(self, feedback):
        raise NotImplementedError

    def disconnect(self):
        self.connected = False


class Wand(Base):
    """Deflections and events, as LeRobot's gamepad has them."""

    config_class = WandConfig
    name = "wand"
    delta, gripper = (0.0, 0.0, 0.0), 1
    down: tuple = ()

    @property
    def action_features(self):
        return {"dtype": "float32", "shape": (4,), "names": {"delta_x": 0}}

    def get_action(self):
        self.check()
        names = ("delta_x", "delta_y", "delta_z")
        return {**dict(zip(names, np.float32(self.delta), strict=True)), "gripper": self.gripper}

    def get_teleop_events(self):
        events = (
            TeleopEvents.IS_INTERVENTION, TeleopEvents.TERMINATE_EPISODE, TeleopEvents.SUCCESS,
            TeleopEvents.RERECORD_EPISODE,
        )  # fmt: skip
        return {event: event.value in self.down for event in events}


@TeleoperatorConfig.register_subclass("arm")
@dataclass(kw_only=True)
class ArmConfig(TeleoperatorConfig):
    port: str


class Arm(Base):
    """A leader arm with motors: three joints in degrees, a gripper from 0 (closed) to 100."""

    config_class = ArmConfig
    name = "arm"
    JOINTS = ("shoulder.pos", "elbow.pos", "wrist.pos", "gripper.pos")

    def __init__(self, config):
        super().__init__(config)
        self.place = [10.0, 20.0, 30.0, 80.0]
        self.torque, self.fed = False, []
        self.hand = [0.0, 0.0, 0.0, 0.0]  # how far a person bends it; motors give way

    @property
    def action_features(self):
        return dict.fromkeys(self.JOINTS, float)

    @property
    def feedback_features(self):
        return dict.fromkeys(self.JOINTS[:3], float)

    def get_action(self):
        self.check()
        bent = [place + hand for place, hand in zip(self.place, self.hand, strict=True)]
        return dict(zip(self.JOINTS, bent, strict=True))

    def enable_torque(self):
        self.torque = True

    def disable_torque(self):
        self.torque = False

    def send_feedback(self, feedback):
        self.fed.append(feedback)
        if self.torque:
            self.place[:3] = [feedback[name] for name in self.JOINTS[:3]]


class Rotation:
    """SciPy's, as far as it is needed."""

    def __init__(self, vector):
        self.vector = vector

    def as_rotvec(self):
        return np.asarray(self.vector)


@TeleoperatorConfig.register_subclass("tracker")
@dataclass(kw_only=True)
class TrackerConfig(TeleoperatorConfig):
    pass


class Tracker(Base):
    """A pose in space that counts while a button is held, as LeRobot's phone."""

    config_class = TrackerConfig
    name = "tracker"
    enabled, place, turn = False, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)

    @property
    def action_features(self):
        return {"phone.pos": np.ndarray, "phone.rot": Rotation, "phone.enabled": bool}

    def connect(self):  # no calibrate: the phone's has none
        self.connected = True

    def get_action(self):
        self.check()
        return {
            "phone.pos": np.asarray(self.place),
            "phone.rot": Rotation(self.turn),
            "phone.raw_inputs": {"b1": int(self.enabled), "a3": 0.5},
            "phone.enabled": self.enabled,
        }
