"""A run's configuration to JSON and back, strictly: a field that does not fit is named.

The sections ``env`` and ``operator`` begin with the name that decides their fields::

    {"agent_name": "silri", "preset": "default", "agent": {...},
     "env": {"name": "metaworld/drawer-open-v3", "reset_range": null, ...},
     "operator": {"name": "steady", "skill": {...}, "gate": {...}}, ...}
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from silri.agents.residual import ResidualConfig
from silri.configs.run import RunConfig
from silri.core.errors import ConfigError, UnknownNameError
from silri.core.settings import from_plain, settings
from silri.language.config import LanguageConfig
from silri.rewards.config import RewardConfig
from silri.vision.config import VisionConfig
from silri.vla.config import VlaConfig

# Raised when a field is added or changes its meaning; written into config.json and policy.json.
FORMAT = 10
_LAST_UNREADABLE = 9  # formats 1 to 9 were written while options came and went every day
_NAMED = ("env", "operator")
# Fields of the format that came later. What they stand for was the only way there was before.
_LATER_SECTIONS: Mapping[str, Mapping[str, Any]] = {
    "vision": dataclasses.asdict(VisionConfig(keep="frames")),  # eyes learned with their network
    "residual": dataclasses.asdict(ResidualConfig()),  # nobody was corrected
    "reward": dataclasses.asdict(RewardConfig(refit=False)),  # it stayed as it was fitted
    "language": dataclasses.asdict(LanguageConfig()),  # nobody said anything
    "vla": dataclasses.asdict(VlaConfig()),  # there was none
    "augment": {"feature_noise": 0.0, "sentence_noise": 0.0},
    "evaluation": {"videos": 0},
    "runtime": {"camera_patience": 0},
}
# A field that a kind of environment always had -> what it has beside that.
_LATER_OF_ENV: Mapping[str, Mapping[str, Any]] = {
    "max_episode_steps": {"end_on_success": True},
    "gripper_dims": {
        "success_key": None,
        "success_return": None,
        "image_keys": None,
        "image_size": None,
    },
    "reset_range": {"observation": "vector", "image_size": 128},
}
_LATER_OF_PEOPLE: Mapping[str, Mapping[str, Any]] = {
    "skill": {"habit": [], "other_habit": [], "errs": "everywhere", "aside": 0.0},
    "gate": {"late": [0, 0], "follows": "eyes"},
}
_LATER_OF_SILRI = {"failed_weight": 1.0, "own_weight": 0.0}  # people alone were imitated, always


def from_versioned(data: Any, version: Any, where: str) -> RunConfig:
    """A configuration that a file holds with its format; another format is refused by its number.

    Args:
        data: what :func:`to_json` wrote.
        version: its format; None stands for 1, which had no number.
        where: file, for the message.

    Raises:
        ConfigError: it is not of this format, with the remedy; or see :func:`from_json`.
    """
    version = 1 if version is None else version
    if version == FORMAT and isinstance(version, int):
        try:
            return from_json(with_later_fields(data))
        except (ConfigError, UnknownNameError) as error:  # it names the field; whose, is said here
            raise ConfigError(f"{where}: {error}") from error
    if isinstance(version, int) and 1 <= version <= _LAST_UNREADABLE:
        raise ConfigError(
            f"{where} has format {version}, written by an earlier silri; install commit f441adf "
            "to resume or evaluate it; its episodes can be used with --data.dataset RUN/episodes"
        )
    raise ConfigError(
        f"{where} has format {version}; this version of silri reads {FORMAT}: "
        "install the version that wrote it, or a newer one"
    )


def with_later_fields(data: Any) -> Any:
    """``data`` with what its format did not have yet when it was written."""
    if not isinstance(data, dict):
        return data
    data = {"start_from": None, **data}  # every policy began anew
    for section, fields in _LATER_SECTIONS.items():
        # Nothing of these was there.
        whole = section in ("vision", "reward", "language", "residual", "vla")
        given = data.get(section, {} if whole else None)
        if isinstance(given, dict):
            data[section] = {**fields, **given}
    if isinstance(agent := data.get("agent"), dict) and "expert_rate" in agent:
        agent = dict(agent)  # of SiLRI, or of one of its variants
        if data.get("agent_name") == "silri_proven":  # a variant until it became the default
            data["agent_name"] = "silri"
            agent |= {f"{name}_weight": agent.pop(name, None) for name in ("failed", "own")}
        fixed = {"explore_least": agent.get("explore_std")}  # nobody's spread bounded exploration
        data["agent"] = {**_LATER_OF_SILRI, **fixed, **agent}
    if isinstance(env := data.get("env"), dict):
        for known, fields in _LATER_OF_ENV.items():
            env = {**fields, **env} if known in env else env
        data["env"] = env
    if isinstance(operator := data.get("operator"), dict):
        data["operator"] = operator | {
            part: {**fields, **operator[part]}
            for part, fields in _LATER_OF_PEOPLE.items()
            if isinstance(operator.get(part), dict)
        }
    return data


def to_json(config: RunConfig) -> dict[str, Any]:
    """Nested plain values; the inverse of :func:`from_json`."""
    data = dataclasses.asdict(config)
    for section in _NAMED:
        data[section] = {"name": data.pop(f"{section}_name"), **data[section]}
    return data


def from_json(data: Any) -> RunConfig:
    """Rebuild a run's configuration.

    Raises:
        ConfigError: a field is missing, unknown or of the wrong kind; the message has its path.
        UnknownNameError: no agent, environment or operator has the name that it says.
    """
    if not isinstance(data, dict):
        raise ConfigError(f"a configuration is an object, got {data!r}")
    plain = dict(data)
    for section in _NAMED:
        fields = plain.get(section)
        if not isinstance(fields, dict):
            raise ConfigError(f"{section} takes an object with a 'name', got {fields!r}")
        plain[f"{section}_name"] = fields.get("name")
        plain[section] = {key: value for key, value in fields.items() if key != "name"}
    names: dict[str, Any] = {"agent": plain.get("agent_name")} | {
        s: plain[f"{s}_name"] for s in _NAMED
    }
    for section, name in names.items():
        if not isinstance(name, str):
            field = "agent_name" if section == "agent" else f"{section}.name"
            raise ConfigError(f"{field} takes text, got {name!r}")
    typed = from_plain(_typed(**RunConfig.kinds(**names)), plain)
    return RunConfig(**{f.name: getattr(typed, f.name) for f in dataclasses.fields(typed)})


@functools.cache
def _typed(**kinds: type) -> type[RunConfig]:
    """RunConfig with the classes that the names stand for in place of their bases."""
    body: dict[str, Any] = {name: dataclasses.field(kw_only=True) for name in kinds}
    body |= {"__annotations__": kinds, "__module__": __name__}
    return settings("")(type("RunConfig", (RunConfig,), body))


def load_config(path: Path) -> RunConfig:
    """The configuration inside a ``config.json``.

    Raises:
        ConfigError: it is damaged or of another format.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # not JSON, or no text at all
        raise ConfigError(f"{path} is not JSON ({error}); restore it from a copy") from error
    if not isinstance(data, dict) or "run" not in data:
        raise ConfigError(f"{path} has no 'run', the configuration; restore it from a copy")
    return from_versioned(data["run"], data.get("format"), str(path))


def differences(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[str]:
    """``field: left -> right`` for every leaf of two :func:`to_json` that differs."""
    a, b = _flatten(left), _flatten(right)
    return [
        f"{name}: {a.get(name)!r} -> {b.get(name)!r}"
        for name in sorted(a.keys() | b.keys())
        if a.get(name) != b.get(name)
    ]


def _flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, dict):
            flat |= _flatten(item, f"{prefix}{key}.")
        else:
            flat[prefix + key] = list(item) if isinstance(item, tuple) else item
    return flat
