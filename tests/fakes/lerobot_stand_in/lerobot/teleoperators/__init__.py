"""The names that LeRobot exports here."""

from lerobot.teleoperators.base import (
    Teleoperator,
    TeleoperatorConfig,
    TeleopEvents,
    make_teleoperator_from_config,
)

__all__ = ["TeleopEvents", "Teleoperator", "TeleoperatorConfig", "make_teleoperator_from_config"]
