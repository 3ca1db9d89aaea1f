"""A run's configuration as nested overrides of a preset: how a benchmark states its cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from silri.configs.run import RunConfig
from silri.configs.serialize import from_json, to_json
from silri.core.errors import ConfigError, UsageError
from silri.core.settings import merged

# (where it is written, for messages; nested values with the names of the configuration's fields)
Layer = tuple[str, Mapping[str, Any]]


def configured(agent_name: str, preset: str, layers: Sequence[Layer]) -> RunConfig:
    """The configuration of a preset with ``layers`` on top; a later layer wins.

    Raises:
        UnknownNameError: unknown agent or preset; lists the right ones.
        ConfigError: a field is unknown or a value does not fit; the message has the layer's place
            and the field's path.
    """
    names: dict[str, Any] = {}
    for _, overrides in layers:  # the names decide which fields there are
        for section in ("env", "operator"):
            chosen = overrides.get(section)
            if isinstance(chosen, Mapping) and "name" in chosen:
                names[f"{section}_name"] = chosen["name"]
    base = to_json(RunConfig.from_preset(agent_name, preset, **names))
    values = base
    for _, overrides in layers:
        values = merged(values, overrides)
    try:
        return from_json(values)
    except UsageError as error:
        raise ConfigError(f"{_culprit(base, layers)}: {error}") from error


def _culprit(base: Mapping[str, Any], layers: Sequence[Layer]) -> str:
    """The place of the first layer with which the configuration does not fit any more."""
    values = dict(base)
    for where, overrides in layers:
        values = merged(values, overrides)
        try:
            from_json(values)
        except UsageError:
            return where
    raise AssertionError("the configuration fits")
