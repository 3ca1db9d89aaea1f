"""The table of algorithms; listing it imports none of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from silri.agents.base import AgentConfig, Preset
from silri.core.registry import Entry as Row
from silri.core.registry import Registry, unknown_name

AGENTS = Registry(
    "agent",
    [
        Row(
            "silri", "silri.agents.silri:SiLRIAgent", "state-wise Lagrangian RL from interventions"
        ),
        Row(
            "hil_serl", "silri.agents.hil_serl:HILSERLAgent", "RLPD soft actor-critic + human data"
        ),
        Row("hg_dagger", "silri.agents.hg_dagger:HGDAggerAgent", "cloning that goes on online"),
        Row("bc", "silri.agents.bc:BCAgent", "behaviour cloning of demonstrations"),
    ],
)


@dataclass(frozen=True)
class AgentEntry:
    """An algorithm, loaded: its class and its presets."""

    name: str
    agent: Any
    presets: dict[str, Preset]

    def preset(self, name: str) -> Preset:
        """The preset called ``name``.

        Raises:
            UnknownNameError: listing this agent's presets.
        """
        if name not in self.presets:
            raise unknown_name(f"preset of agent {self.name}", name, self.presets)
        return self.presets[name]

    @property
    def config_type(self) -> type[AgentConfig]:
        """The configuration's dataclass."""
        return type(self.presets["default"].config)


def load_agent(name: str) -> AgentEntry:
    """Import the algorithm called ``name``; raises UnknownNameError with the right names."""
    import importlib

    row = AGENTS.get(name)
    module = importlib.import_module(row.target.partition(":")[0])
    return AgentEntry(name=name, agent=row.load(), presets=module.PRESETS)
