"""The policy outside training: safetensors and one JSON, no optimiser, no pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
from safetensors.numpy import load, load_file, save

from silri.agents.base import Agent
from silri.agents.registry import load_agent
from silri.configs.run import RunConfig
from silri.configs.serialize import FORMAT, from_json, migrate, to_json
from silri.core.errors import DataError
from silri.core.specs import EnvSpec
from silri.data import files

WEIGHTS, DESCRIPTION = "policy.safetensors", "policy.json"


def export_policy(agent: Agent, config: RunConfig, spec: EnvSpec, folder: Path) -> None:
    """Write ``policy.safetensors`` (every leaf but optimiser moments) and ``policy.json``."""
    files.make_dir(folder)
    files.atomic_write(folder / WEIGHTS, encode_parameters(agent))
    description = {
        "format": FORMAT,
        "run": to_json(config),
        "spec": spec.to_json(),
    }
    files.atomic_write(folder / DESCRIPTION, json.dumps(description, indent=2).encode())


def load_policy(folder: Path) -> tuple[Agent, RunConfig, EnvSpec]:
    """Read what :func:`export_policy` wrote; optimisers start afresh.

    Raises:
        DataError: a file is missing or damaged, or its arrays do not fit the described agent.
        ConfigError: the described configuration is not one of this version; names the field.
    """
    try:
        description = json.loads((folder / DESCRIPTION).read_text())
        arrays = load_file(folder / WEIGHTS)
    except FileNotFoundError as error:
        raise DataError(
            f"{folder} holds no exported policy ({error.filename} is missing); a run exports one "
            "at its first evaluation"
        ) from error
    except (ValueError, safetensors.SafetensorError) as error:  # no JSON, or not even text
        raise DataError(f"{folder} is damaged ({error}); export the run again") from error
    version = description.get("format") if isinstance(description, dict) else None
    if version not in range(1, FORMAT + 1):
        raise DataError(
            f"{folder / DESCRIPTION} has format {version}; this version reads up to {FORMAT}"
        )
    if "run" not in description:
        raise DataError(f"{folder / DESCRIPTION} has no 'run'; export the run again")
    config = from_json(migrate(description["run"], version, str(folder / DESCRIPTION)))
    try:
        spec = EnvSpec.from_json(description.get("spec"))
    except DataError as error:
        raise DataError(f"the spec in {folder / DESCRIPTION} is damaged ({error})") from error
    agent = load_agent(config.agent_name).agent.create(config.agent, spec, None, config.seed)
    return fill_parameters(agent, arrays, str(folder / WEIGHTS)), config, spec


def encode_parameters(agent: Agent) -> bytes:
    """Every leaf that acting may need, as a safetensors file: all but optimiser moments."""
    return save({name: np.asarray(leaf) for name, leaf in _leaves(agent).items()})


def decode_parameters(data: bytes, template: Agent, where: str) -> Agent:
    """The agent of :func:`encode_parameters`; what it lacks is the template's.

    Raises:
        DataError: it is damaged, or of another agent; names ``where``.
    """
    try:
        arrays = load(data)
    except safetensors.SafetensorError as error:
        raise DataError(f"{where} is damaged ({error})") from error
    return fill_parameters(template, arrays, where)


def fill_parameters(agent: Agent, arrays: dict[str, np.ndarray], where: str) -> Agent:
    """``agent`` with other values in its leaves, optimiser moments excepted.

    Raises:
        DataError: the arrays are not this agent's, or not finite; names ``where`` and the leaf.
    """
    wanted = _leaves(agent)
    if set(wanted) != set(arrays):
        odd = sorted(set(wanted) ^ set(arrays))[:5]
        raise DataError(f"{where} does not fit {type(agent).__name__}: {odd}")
    for name, leaf in wanted.items():
        stored = arrays[name]
        if (stored.shape, stored.dtype) != (leaf.shape, leaf.dtype):
            raise DataError(
                f"{name} in {where} has shape {stored.shape} of {stored.dtype}; "
                f"the described agent has {leaf.shape} of {leaf.dtype}"
            )
        if not np.isfinite(stored).all():
            raise DataError(f"{name} in {where} is not finite: training diverged")
    paths, structure = jax.tree_util.tree_flatten_with_path(agent)
    filled = [jnp.asarray(arrays.get(jax.tree_util.keystr(path), leaf)) for path, leaf in paths]
    return jax.tree_util.tree_unflatten(structure, filled)


def _leaves(agent: Agent) -> dict[str, Any]:
    paths, _ = jax.tree_util.tree_flatten_with_path(agent)
    named = {jax.tree_util.keystr(path): leaf for path, leaf in paths}
    return {name: leaf for name, leaf in named.items() if ".opt_state" not in name}
