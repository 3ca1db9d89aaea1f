"""LeRobot's robots and teleoperators by the names of their types: found, configured, made.

Written for ``lerobot`` 0.4.4 to 0.6.1, which is imported only when one is chosen. Its own types
register when their module is imported, those of plug-ins when the plug-in is.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import inspect
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from silri.core.errors import ConfigError, MissingExtraError
from silri.core.registry import import_module, unknown_name
from silri.core.settings import from_text

PREFIX = "lerobot:"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Family:
    """One of LeRobot's tables.

    Attributes:
        what: it holds, for messages.
        package: its package.
        plugin: beginning of the names of plug-ins.
        config: name of the base class of configurations.
        make: name of the function that makes one.
        chosen: how a user chooses one, for messages.
        options: setting that holds name=value, for messages.
        calibrate: option of ``lerobot-calibrate`` that stands for it.
        aliases: types whose module is called otherwise.
    """

    what: str
    package: str
    plugin: str
    config: str
    make: str
    chosen: str
    options: str
    calibrate: str
    aliases: Mapping[str, tuple[str, ...]]


TELEOPERATORS = Family(
    "LeRobot teleoperator", "lerobot.teleoperators", "lerobot_teleoperator_",
    "TeleoperatorConfig", "make_teleoperator_from_config",
    "operator 'lerobot:...'", "operator.options", "teleop",
    {
        "so100_leader": ("so_leader",), "so101_leader": ("so_leader",),
        "keyboard_ee": ("keyboard",), "keyboard_rover": ("keyboard",),
        "homunculus_glove": ("homunculus",), "homunculus_arm": ("homunculus",),
    },
)  # fmt: skip
ROBOTS = Family(
    "LeRobot robot", "lerobot.robots", "lerobot_robot_", "RobotConfig", "make_robot_from_config",
    "environment 'lerobot:...'", "env.options", "robot",
    {
        "so100_follower": ("so_follower", "so100_follower"),
        "so101_follower": ("so_follower", "so101_follower"),
        "bi_so100_follower": ("bi_so_follower", "bi_so100_follower"),
        "lekiwi_client": ("lekiwi",),
        "hope_jr_hand": ("hope_jr",), "hope_jr_arm": ("hope_jr",),
    },
)  # fmt: skip


def import_family(family: Family) -> Any:
    """The package, with every plug-in of its kind registered.

    Raises:
        MissingExtraError: lerobot is not installed.
    """
    try:
        package = importlib.import_module(family.package)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "lerobot":
            raise  # lerobot is there; something that it needs is not
        raise MissingExtraError("lerobot", family.chosen) from error
    # Its own search overlooks plug-ins with hyphens in their distribution's name.
    for name in plugin_modules(family):
        try:
            import_module(name, f"a {family.what}")
        except ImportError as error:
            _log.warning("the LeRobot plug-in %s cannot be imported: %s", name, error)
    return package


def plugin_modules(family: Family) -> list[str]:
    """Modules of the installed plug-ins."""
    names = {
        (dist.metadata["Name"] or "").replace("-", "_").lower()
        for dist in importlib.metadata.distributions()
    }
    return sorted(name for name in names if name.startswith(family.plugin))


def make(family: Family, kind: str, options: Sequence[str]) -> Any:
    """The device of type ``kind``, not yet connected.

    Args:
        family: which table.
        kind: LeRobot's name of its type.
        options: name=value of its configuration; ``cameras.front.type=opencv`` goes deeper.

    Raises:
        ConfigError: an option is not name=value, or the device does not take it.
        UnknownNameError: there is no such type; lists those that there are.
    """
    package = import_family(family)
    known = _known(family, package, kind)
    if kind not in known:
        raise unknown_name(family.what, kind, known or ("none",))
    given = _nested(family, options)
    cameras = {
        name: _camera(f"options of {PREFIX}{kind}.cameras.{name}", fields)
        for name, fields in given.pop("cameras", {}).items()
    }
    config: Any = from_text(known[kind], given, f"options of {PREFIX}{kind}")
    if cameras:
        config.cameras = cameras
    try:
        return getattr(package, family.make)(config)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{PREFIX}{kind} cannot be made: it needs the module {error.name}; install it, or "
            "lerobot's extra for its motors, such as lerobot[feetech] or lerobot[dynamixel]"
        ) from error
    except (ImportError, ValueError, OSError) as error:
        raise ConfigError(f"{PREFIX}{kind} cannot be made: {one_line(error)}") from error


def connect(family: Family, device: Any, kind: str, options: Sequence[str]) -> None:
    """Connect a device of type ``kind`` that was made with ``options``; it asks no questions.

    Raises:
        ConfigError: it cannot be connected, or is not calibrated; then it is let go again.
    """
    calibrates = "calibrate" in inspect.signature(device.connect).parameters
    try:
        device.connect(calibrate=False) if calibrates else device.connect()
    except Exception as error:
        raise ConfigError(f"{PREFIX}{kind} cannot be connected: {one_line(error)}") from error
    if calibrates and not device.is_calibrated:
        with contextlib.suppress(OSError, RuntimeError):
            device.disconnect()
        given = "".join(f" --{family.calibrate}.{option}" for option in options)
        raise ConfigError(
            f"{PREFIX}{kind} is not calibrated: run lerobot-calibrate "
            f"--{family.calibrate}.type={kind}{given}"
        )


def one_line(error: Exception) -> str:
    """What it says, without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__


def _nested(family: Family, options: Sequence[str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or not name:
            raise ConfigError(f"{family.options} takes name=value, got {option!r}")
        *parents, leaf = name.split(".")
        inner = given
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[leaf] = value
    return given


def _camera(section: str, fields: Any) -> Any:
    """A camera's configuration, of the type that its option ``type`` says."""
    fields = dict(fields) if isinstance(fields, Mapping) else {}
    kind = fields.pop("type", None)
    if kind is None:
        raise ConfigError(f"{section}.type is missing, for example {section}.type=opencv")
    base = importlib.import_module("lerobot.cameras").CameraConfig
    if kind not in base.get_known_choices():
        _import_kind(f"lerobot.cameras.{kind}", f"camera type {kind}")
    known = base.get_known_choices()
    if kind not in known:
        raise unknown_name("LeRobot camera", kind, known or ("none",))
    return from_text(known[kind], fields, section)


def _known(family: Family, package: Any, kind: str) -> dict[str, type]:
    """Type to configuration class. LeRobot's own register when their module is imported."""
    base = getattr(package, family.config)
    if kind not in base.get_known_choices():
        for module in (kind, *family.aliases.get(kind, ())):
            _import_kind(f"{family.package}.{module}", f"{PREFIX}{kind}")
    return dict(base.get_known_choices())


def _import_kind(name: str, what: str) -> None:
    """Import a module if there is one.

    Raises:
        ConfigError: it is there, and needs another that is not.
    """
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not (name + ".").startswith(f"{error.name}."):
            raise ConfigError(
                f"{what} needs the module {error.name}: install it, or lerobot's extra for this "
                "device"
            ) from error
