"""Plug-ins as somebody else would publish them: a wand of deflections, a leader arm, a phone."""

from lerobot_teleoperator_wand.devices import (
    Arm,
    ArmConfig,
    Tracker,
    TrackerConfig,
    Wand,
    WandConfig,
)

__all__ = ["Arm", "ArmConfig", "Tracker", "TrackerConfig", "Wand", "WandConfig"]
