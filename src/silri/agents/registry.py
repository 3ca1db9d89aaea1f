"""The table of algorithms; listing it imports none of them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from silri.core.registry import Choice, Entry, Registry

# What a run uses of an algorithm's class and of its instances.
_CONTRACT = (
    *("create", "diagnostic_names", "normalised_by", "with_fresh_optimisers"),
    *("act", "act_deterministic", "update", "replace"),
)


def _own(name: str, module: str, agent: str, summary: str, presets: str = "") -> Entry:
    target = f"silri.agents.{module}"
    named = f"silri.agents.{presets or module}:PRESETS"
    return Entry(name, f"{target}:{agent}", summary, presets=named)


AGENTS = Registry(
    "agent",
    [
        _own(
            *("silri", "silri", "SiLRIAgent", "state-wise Lagrangian RL from interventions"),
            presets="silri_presets",
        ),
        _own("hil_serl", "hil_serl", "HILSERLAgent", "RLPD soft actor-critic + human data"),
        _own("conrft", "conrft", "ConRFTAgent", "a consistency policy, Cal-QL, then corrections"),
        _own("hg_dagger", "hg_dagger", "HGDAggerAgent", "cloning that goes on online"),
        _own("bc", "bc", "BCAgent", "behaviour cloning of demonstrations"),
        _own("silri_groups", "variants.groups", "GroupedSiLRIAgent", "SiLRI, lambda in groups"),
        _own("silri_asking", "variants.asking", "AskingSiLRIAgent", "SiLRI that asks for help"),
    ],
    group="silri.agents",
    base="silri.agents.base:AgentConfig",
    methods=_CONTRACT,
)


@dataclass(frozen=True)
class AgentChoice(Choice):
    """An algorithm, loaded."""

    @property
    def agent(self) -> Any:
        """Its class."""
        return self.target


def load_agent(name: str) -> AgentChoice:
    """Import the algorithm called ``name``, or ``module:Class``.

    Raises:
        UnknownNameError: there is none; the message lists the right names.
        ConfigError: the class lacks something that :class:`~silri.core.registry.Choice` asks for.
    """
    choice = AGENTS.load(name)
    return AgentChoice(**{f.name: getattr(choice, f.name) for f in dataclasses.fields(choice)})
