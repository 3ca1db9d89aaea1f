"""A small SiLRI, and whether two pytrees differ."""

from __future__ import annotations

from dataclasses import replace

import jax

from silri.agents.silri import SiLRIAgent
from silri.agents.silri_config import DEFAULT
from silri.nn.mlp import Trunk

CONFIG = replace(DEFAULT, trunk=Trunk(hidden=(16, 16)), batch_size=16)


def make(spec, **fields):
    return SiLRIAgent.create(replace(CONFIG, **fields), spec, None, 0)


def differs(left, right):
    return any(
        bool((a != b).any())
        for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    )
