"""What every device can be set to, and what its buttons may mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from silri.core.commands import Command
from silri.core.errors import ConfigError
from silri.core.registry import Preset
from silri.core.settings import Field, NonNegative, Rate01, settings
from silri.intervention.devices.mapping import Direction, Motion
from silri.intervention.operators import OperatorConfig

# What a button may mean: held (drive), pressed, or one of the loop's commands. TAKE and PAUSE are
# undone by the same button.
COMMANDS: Mapping[str, Command] = {
    command.value: command
    for command in Command
    if command not in (Command.RELEASE, Command.RESUME)
}
MEANINGS = ("drive", "gripper", "faster", "slower", *COMMANDS)


@settings("operator")
class DeviceConfig(OperatorConfig):
    """Fields that every device has; each adds its own."""

    # what a device's buttons mean, and in which order its help names them
    buttons: ClassVar[Mapping[str, str]] = {}

    # what each continuous dimension of the action does when it is positive, in their order: forward
    # back left right up down, roll pitch yaw (roll- pitch- yaw- the other way), gripper, none;
    # without: the environment's own, else forward left up roll pitch yaw
    axes: tuple[Direction, ...] = ()
    # motions of the hand whose sign is turned: x (forward), y (left), z (up), roll, pitch, yaw
    invert: tuple[Motion, ...] = ()
    # action of a full deflection
    scale: Rate01 = 1.0
    # the same for rotations, times scale
    rotation_scale: Rate01 = 1.0
    # deflection below which nothing moves
    dead_zone: Annotated[float, Field(ge=0, lt=1)] = 0.1
    # who moves it drives, or only who holds the button 'drive' down
    drive: Literal["motion", "hold"] = "motion"
    # seconds that the person keeps control after the last motion
    linger_s: NonNegative = 0.25
    # a press opens or closes it, or it is closed while the button is down
    gripper: Literal["toggle", "hold"] = "toggle"
    # buttons that mean something else, as button=meaning; 'none' takes the meaning away
    bind: tuple[str, ...] = ()
    # in a demonstration, while nobody drives: time stands still, or only the robot does
    idle: Literal["wait", "stand"] = "wait"
    # file of recorded input to play in place of the device
    replay: str | None = None
    # decisions per second of that file's time, whatever the clock says; 0: by the clock
    replay_hz: NonNegative = 0.0
    # new file to record the device's input to
    record_input: str | None = None

    def __post_init__(self) -> None:
        if self.replay and self.record_input:
            raise ConfigError("operator.replay and operator.record_input exclude each other")
        if self.drive == "hold" and "drive" not in self.bindings().values():
            raise ConfigError(
                "operator.drive 'hold' needs a button that means 'drive', e.g. operator.bind "
                f"{next(iter(self.buttons), 'button')}=drive"
            )

    def bindings(self) -> dict[str, str]:
        """Button to meaning.

        Raises:
            ConfigError: ``bind`` names a button or a meaning that there is not.
        """
        bound = dict(self.buttons)
        for text in self.bind:
            button, equals, meaning = text.partition("=")
            if not equals or meaning not in (*MEANINGS, "none"):
                raise ConfigError(
                    f"operator.bind takes button=meaning with one of {', '.join(MEANINGS)}, none; "
                    f"got {text!r}"
                )
            if button not in self.buttons:
                raise ConfigError(
                    f"operator.bind: no button '{button}'; there are {', '.join(self.buttons)}"
                )
            bound[button] = meaning
        return {button: meaning for button, meaning in bound.items() if meaning != "none"}

    def describe(self) -> str:
        """How to drive, for the start of a run."""
        meanings = [
            f"{button} = {meaning}" if button != meaning else button
            for button, meaning in self.bindings().items()
        ]
        played = f" Plays {self.replay}." if self.replay else ""
        how = "Hold 'drive' to drive. " if self.drive == "hold" else ""
        return f"{how}{self.legend()} Buttons: {', '.join(meanings)}.{played}"

    def legend(self) -> str:
        """Which axis does what, one sentence; empty if there is nothing to say."""
        return ""


# What a run changes for a person: a steady rate, fewer demonstrations, and a hand-over of 0.3 s,
# after which the largest change of the executed action is no larger than in driving itself
# (benchmarks/handover.py).
PEOPLE: Mapping[str, Mapping[str, float]] = {
    "runtime": {"rate_hz": 20.0, "blend_steps": 5},
    "data": {"demos": 5},
}


def preset_for(config: DeviceConfig, summary: str) -> Mapping[str, Preset]:
    """The only preset of a device."""
    return {"default": Preset(config, summary, run=PEOPLE)}
