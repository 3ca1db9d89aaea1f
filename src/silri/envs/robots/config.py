"""How an arm is set up and what it may do."""

from __future__ import annotations

from typing import Annotated, Literal

from silri.core.errors import ConfigError
from silri.core.settings import Field, Positive, PositiveInt, settings
from silri.envs.config import EnvConfig, Gripper


@settings("env")
class ArmConfig(EnvConfig):
    """A LeRobot robot. Positions are in its own units: degrees, or -100 to 100 of its range."""

    # of the robot's own configuration, as name=value: port=/dev/ttyACM0 id=my_arm; a camera is
    # cameras.front.type=opencv cameras.front.index_or_path=0
    options: tuple[str, ...] = ()
    # decisions until the time-out
    max_episode_steps: PositiveInt = 300
    # rewards: the two below; nothing else says what success is worth
    reward: Literal["sparse"] = "sparse"
    # largest change of a joint's target in one decision
    step: Positive = 3.0
    # how far a joint's target may be ahead of where the joint is: how hard the arm pushes
    lead: Positive = 12.0
    # NAME=LOW:HIGH of joints that may not move freely, e.g. shoulder_lift=-60:40
    limits: tuple[str, ...] = ()
    # NAME=POSITION of joints where an episode begins; others stay where they were at first
    home: tuple[str, ...] = ()
    # joint that is the gripper; without, there is none
    gripper_joint: str | None = "gripper"
    # whether the gripper is open or closed, or one more joint
    gripper: Gripper = "discrete"
    # positions of the gripper when it is closed and open
    gripper_range: tuple[float, float] = (5.0, 60.0)
    # cameras to keep, such as front; None keeps all
    image_keys: tuple[Annotated[str, Field(min_length=1)], ...] | None = None
    # pixels per side of pictures, whose middle square is resized to that
    image_size: Annotated[int, Field(ge=32, le=512)] = 128

    def __post_init__(self) -> None:
        self.limits_by_joint()
        self.home_by_joint()

    def limits_by_joint(self) -> dict[str, tuple[float, float]]:
        """Joint to lowest and highest position."""
        return {
            name: _range(name, text) for name, text in _named("env.limits", "LOW:HIGH", self.limits)
        }

    def home_by_joint(self) -> dict[str, float]:
        """Joint to the position where an episode begins."""
        return {
            name: _number("env.home", name, text)
            for name, text in _named("env.home", "POSITION", self.home)
        }

    def describe_success(self) -> str:
        """See the base class."""
        return "success: when you say so, or the classifier (--reward.model)"


def _named(setting: str, form: str, texts: tuple[str, ...]) -> list[tuple[str, str]]:
    pairs = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise ConfigError(f"{setting} takes NAME={form}, got {text!r}")
        pairs.append((name, value))
    return pairs


def _number(setting: str, name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{setting} takes numbers, got {name}={text}") from None


def _range(name: str, text: str) -> tuple[float, float]:
    low, _, high = text.partition(":")
    pair = _number("env.limits", name, low), _number("env.limits", name, high)
    if not pair[0] < pair[1]:
        raise ConfigError(f"env.limits takes LOW below HIGH, got {name}={text}")
    return pair
