"""LeRobot's side of :mod:`silri.intervention.devices.teleoperator`: found, made, connected, read.

Written for ``lerobot`` 0.4.4 to 0.6.1: ``connect``, ``get_action``, ``disconnect``; where a device
has them ``get_teleop_events``, ``send_feedback`` with ``feedback_features``, and since 0.6
``enable_torque`` and ``disable_torque``. ``lerobot`` is imported only when one is chosen.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from silri.core.lerobot import TELEOPERATORS, connect, make, one_line

SAMPLE_S = 0.01  # between two reads

_log = logging.getLogger(__name__)


def flattened(action: Mapping[str, Any]) -> dict[str, float]:
    """Numbers by name: arrays and rotations (as rotation vectors) get a number per element."""
    flat: dict[str, float] = {}
    for name, value in action.items():
        if hasattr(value, "as_rotvec"):
            value = value.as_rotvec()
        if isinstance(value, Mapping):
            flat |= {f"{name}.{key}": number for key, number in flattened(value).items()}
            continue
        try:
            array = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            continue  # a text, or nothing
        if array.ndim == 0:
            flat[name] = float(array)
        else:
            flat |= {f"{name}.{index}": float(item) for index, item in enumerate(array.ravel())}
    return {name: number for name, number in flat.items() if math.isfinite(number)}


class TeleoperatorHandle:
    """A connected teleoperator."""

    def __init__(self, kind: str, options: Sequence[str], *, follows: bool) -> None:
        """Make and connect it.

        Args:
            kind: LeRobot's name of its type.
            options: name=value of its configuration.
            follows: it is to be told where the robot is.

        Raises:
            ConfigError: there is no such teleoperator, an option is wrong, or it cannot be
                connected.
            MissingExtraError: lerobot is not installed.
        """
        self._device = make(TELEOPERATORS, kind, options)
        features = self._device.feedback_features or {}
        self._feedback = list(features) if follows else []
        self._told = self._torque = False
        self._action: dict[str, float] = {}
        self._events: dict[str, bool] = {}
        self._closed = False
        connect(TELEOPERATORS, self._device, kind, options)

    def read(self, timeout: float) -> Sequence[tuple[str, Any]]:
        """What has changed.

        Raises:
            OSError: it cannot be read.
        """
        time.sleep(min(SAMPLE_S, timeout))
        events: list[tuple[str, Any]] = []
        if not self._told:
            self._told = True
            events.append(("feedback", self._feedback))
        try:
            action = flattened(self._device.get_action())
            if hasattr(self._device, "get_teleop_events"):
                said = {
                    str(getattr(key, "value", key)): bool(value)
                    for key, value in self._device.get_teleop_events().items()
                }
                if said != self._events:
                    self._events = said
                    events.append(("events", said))
        except Exception as error:
            raise OSError(one_line(error)) from error
        if action != self._action:
            self._action = action
            events.append(("action", action))
        return events

    def send(self, data: Any) -> None:
        """Follow the robot: ``data`` is a list of its joints. ``free``: let go.

        Raises:
            OSError: it cannot be written to.
        """
        if not self._feedback:
            return
        wanted = data != "free"
        try:
            if wanted is not self._torque:
                change = "enable_torque" if wanted else "disable_torque"
                getattr(self._device, change, lambda: None)()
                self._torque = wanted
            if wanted:
                self._device.send_feedback(dict(zip(self._feedback, data, strict=False)))
        except NotImplementedError:
            self._feedback, self._told = [], False
            _log.warning("this teleoperator says that it takes feedback, and does not")
        except Exception as error:
            raise OSError(one_line(error)) from error

    def close(self) -> None:
        """Disconnect; an arm that held itself lets go."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._torque:
                getattr(self._device, "disable_torque", lambda: None)()
            self._device.disconnect()
        except (OSError, RuntimeError) as error:  # it is gone already
            _log.debug("disconnecting: %s", error)
