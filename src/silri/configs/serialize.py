"""Dataclass configurations to JSON and back, strictly: a field that does not fit is named."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any

from silri.agents.registry import load_agent
from silri.configs.run import RunConfig
from silri.core.errors import ConfigError

# Raised when a field is added or changes its meaning; written into config.json and policy.json.
FORMAT = 9
# What a configuration of an earlier format lacks, with the value that it stood for.
_ADDED: dict[int, dict[str, dict[str, Any]]] = {
    2: {
        "runtime": {"rate_hz": 0.0, "updates_per_step": 1.0, "publish_every": 50, "max_lag": 1_000}
    },
    3: {
        "agent": {"own_fraction": 0.0, "n_step": 1, "average_tail": 0.0},
        "evaluation": {"first_layout": 0},
        "operator": {"answer": None},
    },
    4: {"agent": {"shift": 0.0, "shift_share": 0.5}},
    5: {"agent": {"relative": 0.0}},
    6: {"agent": {"goal_shift": 0.0}},
    7: {"agent": {}},
    8: {"agent": {"reward_unit": 0.0}},
    9: {"agent": {"imitate": "all"}},
}
# The same of fields that only one algorithm has.
_ADDED_TO_AGENT: dict[int, dict[str, dict[str, Any]]] = {
    3: {
        "silri": {
            "least_deviation": 0.1,
            "average_gripper": False,
            "expert_decay": 0.0,
            "expert_rate": 1.0,
            "experts": 1,
            "novelty_weight": 0.0,
            "advantage_scale": 0.0,
            "q_scale": "none",
            "ask_fraction": 0.0,
        },
        "hil_serl": {"average_rate": 1.0},
        "hg_dagger": {"decay": 0.0, "average_rate": 1.0},
        "bc": {"decay": 0.0, "average_rate": 1.0},
    },
    7: {"silri": {"pretrain_critic": False}},
}


def migrate(data: Any, version: Any, where: str) -> Any:
    """A configuration of an earlier format as one of this.

    Args:
        data: what :func:`to_json` of that version wrote.
        version: its format; None stands for 1, which had no number.
        where: file, for the message.

    Raises:
        ConfigError: it is of a later format.
    """
    version = 1 if version is None else version
    if not isinstance(version, int) or not 1 <= version <= FORMAT:
        raise ConfigError(
            f"{where} has format {version}; this version of silri reads up to {FORMAT}: "
            "install the version that wrote it, or a newer one"
        )
    if not isinstance(data, dict):
        return data
    for number in range(version + 1, FORMAT + 1):
        of_agent = _ADDED_TO_AGENT.get(number, {}).get(data.get("agent_name", "silri"), {})
        for section, common in _ADDED[number].items():
            fields = common | of_agent if section == "agent" else common
            present = data.get(section)
            if isinstance(present, dict):
                data = {**data, section: {**fields, **present}}
    return data


def to_json(config: RunConfig) -> dict[str, Any]:
    """Nested plain values; the inverse of :func:`from_json`."""
    return dataclasses.asdict(config)


def from_json(data: Any) -> RunConfig:
    """Rebuild a run's configuration.

    Raises:
        ConfigError: a field is missing, unknown or of the wrong kind; the message has its path.
    """
    if not isinstance(data, dict):
        raise ConfigError(f"a configuration is an object, got {data!r}")
    agent_type = load_agent(data.get("agent_name", "silri")).config_type
    return typing.cast(RunConfig, _build(RunConfig, data, "", {"agent": agent_type}))


def load_config(path: Path) -> RunConfig:
    """The configuration inside a ``config.json``."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # not JSON, or no text at all
        raise ConfigError(f"{path} is not JSON ({error}); restore it from a copy") from error
    if not isinstance(data, dict) or "run" not in data:
        raise ConfigError(f"{path} has no 'run', the configuration; restore it from a copy")
    return from_json(migrate(data["run"], data.get("format"), str(path)))


def differences(left: RunConfig, right: RunConfig) -> list[str]:
    """``field: left -> right`` for every leaf that differs."""
    a, b = _flatten(to_json(left)), _flatten(to_json(right))
    return [
        f"{name}: {a.get(name)!r} -> {b.get(name)!r}"
        for name in sorted(a.keys() | b.keys())
        if a.get(name) != b.get(name)
    ]


def _flatten(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, dict):
            flat |= _flatten(item, f"{prefix}{key}.")
        else:
            flat[prefix + key] = list(item) if isinstance(item, tuple) else item
    return flat


def _build(kind: Any, value: Any, path: str, overrides: dict[str, Any] | None = None) -> Any:
    """``value`` as ``kind``: dataclasses, tuples, optionals and scalars."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, dict):
            raise ConfigError(f"{path.rstrip('.') or 'config'} takes an object, got {value!r}")
        hints = typing.get_type_hints(kind) | (overrides or {})
        names = {field.name for field in dataclasses.fields(kind)}
        if set(value) - names:
            surplus = ", ".join(path + name for name in sorted(set(value) - names))
            raise ConfigError(f"unknown configuration field {surplus}: of another version?")
        if names - set(value):
            missing = ", ".join(path + name for name in sorted(names - set(value)))
            raise ConfigError(f"missing configuration field {missing}: of another version?")
        return kind(**{n: _build(hints[n], v, f"{path}{n}.") for n, v in value.items()})
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        inner = [argument for argument in arguments if argument is not type(None)]
        return _build(inner[0], value, path)
    name = path.rstrip(".")
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{name} takes a list, got {value!r}")
        if arguments[-1] is not ... and len(value) != len(arguments):
            raise ConfigError(f"{name} takes {len(arguments)} values, got {value!r}")
        return tuple(_build(arguments[0], item, path) for item in value)
    if origin is typing.Literal:
        if value not in arguments:
            raise ConfigError(
                f"{name} takes one of {', '.join(map(repr, arguments))}, got {value!r}"
            )
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and (
        not isinstance(value, kind) or isinstance(value, bool) != (kind is bool)
    ):
        raise ConfigError(f"{name} takes {kind.__name__}, got {value!r}")
    return value
