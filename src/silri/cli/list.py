"""``silri list agents|envs|operators|devices|encoders``: names that the other verbs take."""

from __future__ import annotations

from silri.cli.main import DONE
from silri.core.errors import UsageError
from silri.core.registry import unknown_name

TABLES = ("agents", "envs", "operators", "devices", "encoders")


def main(arguments: list[str]) -> int:
    """Print a table and return the exit code."""
    if arguments and arguments[0] in ("-h", "--help"):
        print(f"usage: silri list {'|'.join(TABLES)}\n       silri list operators NAME")
        return DONE
    if len(arguments) == 2 and arguments[0] == "operators":
        print(_person(arguments[1]))
        return DONE
    if len(arguments) != 1:
        raise UsageError(f"name one table: silri list {'|'.join(TABLES)}")
    table = arguments[0]
    if table not in TABLES:
        raise unknown_name("table", table, TABLES)
    rows = _ROWS[table]()
    width = max(len(name) for name, _ in rows)
    for name, summary in rows:
        print(f"{name:{width}}  " + summary.replace("\n", "\n" + " " * (width + 2)))
    return DONE


def _agents() -> list[tuple[str, str]]:
    from silri.agents.registry import AGENTS, load_agent

    rows = []
    for entry in AGENTS:
        rows.append((entry.name, entry.summary))
        if not entry.package:  # a package's presets would need its import
            presets = load_agent(entry.name).presets
            rows += [(f"  --preset {name}", preset.summary) for name, preset in presets.items()]
    return rows


def _envs() -> list[tuple[str, str]]:
    from silri.envs.registry import ENVS

    return [(entry.name, entry.summary) for entry in ENVS]


def _operators() -> list[tuple[str, str]]:
    from silri.intervention.registry import OPERATORS

    return [(entry.name, entry.summary) for entry in OPERATORS]


def _person(name: str) -> str:
    """With every number."""
    from silri.intervention.registry import OPERATORS, describe_operator

    return describe_operator(name, OPERATORS.load(name).preset().config)


def _devices() -> list[tuple[str, str]]:
    from silri.intervention.devices.listing import find_devices

    return [(found.name, found.state) for found in find_devices()]


def _encoders() -> list[tuple[str, str]]:
    from silri.nn.encoders.backbone import BACKBONES

    return [(entry.name, entry.summary) for entry in BACKBONES]


_ROWS = {
    "agents": _agents,
    "envs": _envs,
    "operators": _operators,
    "devices": _devices,
    "encoders": _encoders,
}
