"""LeRobot's side of :mod:`silri.intervention.devices.teleoperator`: found, made, connected, read.

Written for ``lerobot`` 0.4.4 to 0.6.1: ``connect``, ``get_action``, ``disconnect``; where a device
has them ``get_teleop_events``, ``send_feedback`` with ``feedback_features``, and since 0.6
``enable_torque`` and ``disable_torque``. ``lerobot`` is imported only when one is chosen.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import logging
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from silri.core.errors import ConfigError, MissingExtraError
from silri.core.registry import import_module, unknown_name
from silri.core.settings import from_text

PREFIX = "lerobot:"
PLUGIN = "lerobot_teleoperator_"
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
        self._device = make_teleoperator(kind, options)
        features = self._device.feedback_features or {}
        self._feedback = list(features) if follows else []
        self._told = self._torque = False
        self._action: dict[str, float] = {}
        self._events: dict[str, bool] = {}
        self._closed = False
        parameters = inspect.signature(self._device.connect).parameters
        try:
            if "calibrate" in parameters:
                self._device.connect(calibrate=False)
            else:
                self._device.connect()
        except Exception as error:
            said = " ".join(str(error).split())
            raise ConfigError(f"{PREFIX}{kind} cannot be connected: {said}") from error
        if "calibrate" in parameters and not self._device.is_calibrated:
            self.close()
            raise ConfigError(
                f"{PREFIX}{kind} is not calibrated: run lerobot-calibrate --teleop.type={kind} "
                f"{' '.join(f'--teleop.{option}' for option in options)}".rstrip()
            )

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
            raise OSError(" ".join(str(error).split()) or type(error).__name__) from error
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
            raise OSError(" ".join(str(error).split()) or type(error).__name__) from error

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


def import_lerobot() -> Any:
    """``lerobot.teleoperators``, with every plug-in registered.

    Raises:
        MissingExtraError: lerobot is not installed.
    """
    try:
        teleoperators = importlib.import_module("lerobot.teleoperators")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "lerobot":
            raise  # lerobot is there; something that it needs is not
        raise MissingExtraError("lerobot", "operator 'lerobot:...'") from error
    # Its own search overlooks plug-ins with hyphens in their distribution's name.
    for name in plugin_modules():
        try:
            import_module(name, "a teleoperator")
        except ImportError as error:
            _log.warning("the LeRobot plug-in %s cannot be imported: %s", name, error)
    return teleoperators


def plugin_modules() -> list[str]:
    """Modules of the installed plug-ins."""
    names = {
        (dist.metadata["Name"] or "").replace("-", "_").lower()
        for dist in importlib.metadata.distributions()
    }
    return sorted(name for name in names if name.startswith(PLUGIN))


def make_teleoperator(kind: str, options: Sequence[str]) -> Any:
    """LeRobot's teleoperator of type ``kind``, not yet connected.

    Raises:
        ConfigError: an option is not name=value, or the device does not take it.
        UnknownNameError: there is no such type; lists those that there are.
    """
    teleoperators = import_lerobot()
    known = _known(teleoperators, kind)
    if kind not in known:
        raise unknown_name("LeRobot teleoperator", kind, known or ("none",))
    given: dict[str, Any] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or not name:
            raise ConfigError(f"operator.options takes name=value, got {option!r}")
        *parents, leaf = name.split(".")
        inner = given
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[leaf] = value
    config: Any = from_text(known[kind], given, f"options of {PREFIX}{kind}")
    try:
        return teleoperators.make_teleoperator_from_config(config)
    except (ImportError, ValueError, OSError) as error:
        said = " ".join(str(error).split())
        raise ConfigError(f"{PREFIX}{kind} cannot be made: {said}") from error


def _known(teleoperators: Any, kind: str) -> dict[str, type]:
    """Type to configuration class. LeRobot's own register when their module is imported."""
    base = teleoperators.TeleoperatorConfig
    if kind not in base.get_known_choices():
        for module in (kind, *_ALIASES.get(kind, ())):
            name = f"lerobot.teleoperators.{module}"
            try:
                importlib.import_module(name)
            except ModuleNotFoundError as error:
                if not (name + ".").startswith(f"{error.name}."):
                    raise ConfigError(
                        f"{PREFIX}{kind} needs the module {error.name}: install it, or lerobot's "
                        "extra for this device"
                    ) from error
    return dict(base.get_known_choices())


# Types whose module is called otherwise.
_ALIASES: Mapping[str, tuple[str, ...]] = {
    "so100_leader": ("so_leader",),
    "so101_leader": ("so_leader",),
    "keyboard_ee": ("keyboard",),
    "keyboard_rover": ("keyboard",),
    "homunculus_glove": ("homunculus",),
    "homunculus_arm": ("homunculus",),
}
