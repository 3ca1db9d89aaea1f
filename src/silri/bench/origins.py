"""How runs came to be: their configurations and what they were run with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from silri.bench.records import Fields
from silri.bench.suite import Cell
from silri.configs.run import RunConfig
from silri.configs.serialize import FORMAT, differences, to_json, with_later_fields
from silri.core.errors import ConfigError


@dataclass(frozen=True)
class Origin:
    """Where a run comes from.

    Attributes:
        config: of the run, as that version of silri wrote it: results stay readable when options
            have gone.
        format: of ``config``.
        made_with: ``python``, ``packages`` (name to version) and ``git`` (None outside a checkout).
    """

    config: Mapping[str, Any]
    format: int
    made_with: Mapping[str, Any]

    @property
    def commit(self) -> str:
        """Of the checkout, and whether it was changed."""
        git = self.made_with.get("git")
        if not isinstance(git, dict):
            return "none, not run from a checkout"
        return f"{git.get('commit')}{', changed' if git.get('dirty') else ''}"

    @property
    def budget(self) -> int | None:
        """Human-driven steps after which nobody took over any more; None: no end."""
        gate = self.config.get("operator", {}).get("gate", {})
        budget: int | None = gate.get("budget")
        return budget

    def differences(self, wanted: RunConfig) -> list[str]:
        """``field: theirs -> wanted``, or why this version cannot compare them."""
        if self.format != FORMAT:
            return [f"its options had other names (format {self.format}): not compared"]
        return differences(with_later_fields(dict(self.config)), to_json(wanted))


def origin_of(config: Fields) -> Origin:
    """The origin that a run's ``config.json`` states.

    Raises:
        ConfigError: it is of a later version; with its number.
        DataError: it has no configuration.
    """
    version = config.data.get("format", 1)
    if not isinstance(version, int) or version > FORMAT:
        raise ConfigError(
            f"{config.where} has format {version}; this version of silri reads up to {FORMAT}: "
            "install the version that wrote it, or a newer one"
        )
    made_with = {name: config.data.get(name) for name in ("python", "packages", "git")}
    return Origin(config.take("run", dict), version, made_with)


def differing(origins: Mapping[str, Origin], cells: Iterable[Cell]) -> dict[str, tuple[str, ...]]:
    """``field: theirs -> the suite's`` of the cells that ran with another configuration."""
    found = {}
    for cell in cells:
        if cell.name in origins:
            origin = origins[cell.name]
            budget = origin.budget if cell.source is not None else None
            fields = origin.differences(cell.config(budget))
            if fields:
                found[cell.name] = tuple(fields)
    return found


def describe(origins: Mapping[str, Origin], names: Iterable[str]) -> list[str]:
    """A line for each version of everything that these cells were run with."""
    counts: Counter[str] = Counter()
    unknown = 0
    for name in names:
        if name not in origins:
            unknown += 1
            continue
        made = origins[name].made_with
        packages = ", ".join(f"{k} {v}" for k, v in dict(made.get("packages") or {}).items())
        counts[f"Python {made.get('python')}, {packages}; commit {origins[name].commit}"] += 1
    lines = [f"{count} runs: {text}" for text, count in counts.most_common()]
    return lines + [f"{unknown} runs do not say what they were run with"] * bool(unknown)
