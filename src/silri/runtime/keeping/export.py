"""The policy outside training: safetensors and one JSON, no optimiser, no pickle."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
from safetensors.numpy import load, load_file, save

from silri.agents.base import CAME_LATER, Agent
from silri.agents.registry import load_agent
from silri.agents.residual import Base, create_agent, frozen
from silri.configs.run import RunConfig
from silri.configs.serialize import FORMAT, from_versioned, to_json
from silri.core.errors import DataError
from silri.core.specs import EnvSpec
from silri.store.safety import files
from silri.vision.files import load_sight, metadata, named, save_sight
from silri.vision.sight import Sight
from silri.vision.sighted import Sighted

WEIGHTS, DESCRIPTION = "policy.safetensors", "policy.json"
_SIGHT = "sight:"  # before the names of what is seen with, among an agent's parameters
_BASE = "base:description"  # likewise of what is corrected, as bytes: a robot has no copy of it


def export_policy(acting: Sighted, config: RunConfig, spec: EnvSpec, folder: Path) -> None:
    """Write ``policy.safetensors`` (every leaf but optimiser moments) and ``policy.json``.

    A policy that sees by cameras has a third file, ``sight.safetensors``. A correction has its base
    within: that run may be gone.
    """
    files.make_dir(folder)
    save_sight(acting.sight, folder)
    files.atomic_write(folder / WEIGHTS, save(_arrays(acting.agent)))
    description = describe_policy(acting.agent, config, spec)
    files.atomic_write(folder / DESCRIPTION, json.dumps(description, indent=2).encode())


def describe_policy(agent: Agent, config: RunConfig, spec: EnvSpec) -> dict[str, Any]:
    """What ``policy.json`` holds: all but the numbers, so that they can be filled in."""
    description = {"format": FORMAT, "run": to_json(config), "spec": spec.to_json()}
    if agent.base is not None:
        description["base"] = json.loads(agent.base.description)
    return description


def policy_folder(path: str | Path) -> Path:
    """Where the policy of ``path`` is: an export as it is, or a run's ``policy``."""
    path = Path(path)
    return path if (path / DESCRIPTION).is_file() else path / "policy"


def load_policy(folder: Path) -> tuple[Sighted, RunConfig, EnvSpec]:
    """Read what :func:`export_policy` wrote; optimisers start afresh.

    Raises:
        DataError: a file is missing or damaged, or its arrays do not fit the described agent.
        ConfigError: the described configuration is not one of this version, names the field; or
            what it sees with was fitted for another encoder.
    """
    try:
        description = json.loads((folder / DESCRIPTION).read_text())
        arrays = load_file(folder / WEIGHTS)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(
            f"{folder} holds no exported policy ({error.filename} is missing); a run exports one "
            "at its first evaluation"
        ) from error
    except (ValueError, safetensors.SafetensorError) as error:  # no JSON, or not even text
        raise DataError(f"{folder} is damaged ({error}); export the run again") from error
    config, spec = _described(description, str(folder / DESCRIPTION))
    sight = Sight(config.vision, spec, config.language, config.vla)
    load_sight(sight, folder)
    agent = _blank(description, sight.seen, str(folder / DESCRIPTION))
    return Sighted(fill_parameters(agent, arrays, str(folder / WEIGHTS)), sight), config, spec


def _described(description: Any, where: str) -> tuple[RunConfig, EnvSpec]:
    """The run and the spec of a ``policy.json``."""
    if not isinstance(description, dict) or "run" not in description:
        raise DataError(f"{where} has no 'run'; export the run again")
    config = from_versioned(description["run"], description.get("format"), where)
    try:
        return config, EnvSpec.from_json(description.get("spec"))
    except DataError as error:
        raise DataError(f"the spec in {where} is damaged ({error})") from error


def _blank(description: Any, seen: EnvSpec, where: str) -> Agent:
    """The agent that is described, its numbers not filled in."""
    config, _ = _described(description, where)
    base = None
    if config.residual.base is not None:
        if "base" not in description:
            raise DataError(f"{where} has no 'base', the policy that is corrected; export it again")
        base = describe_base(config, description["base"], seen, where)
    kind = load_agent(config.agent_name).agent
    return create_agent(kind, config.agent, seen, config.seed, config.augment, base)


def describe_base(config: RunConfig, description: Any, seen: EnvSpec, where: str) -> Base:
    """The policy that the agent of ``config`` corrects, its numbers not filled in.

    Args:
        config: of the correction.
        description: of the base, as :func:`describe_policy` has it.
        seen: what both see of the environment.
        where: it is written, for messages.

    Raises:
        DataError, ConfigError: see :func:`load_policy`.
    """
    _, spec = _described(description, f"the base in {where}")
    # Where positions are is the base's to say; what is seen is the same for both.
    own = replace(spec, observation=seen.observation)
    agent = _blank(description, own, f"the base in {where}")
    return Base(frozen(agent), config.residual.scale, json.dumps(description))


def encode_parameters(acting: Sighted) -> bytes:
    """All that acting may need, as one safetensors file: every leaf but optimiser moments."""
    extra = {_SIGHT + name: array for name, array in acting.sight.arrays().items()}
    if acting.agent.base is not None:
        extra[_BASE] = np.frombuffer(acting.agent.base.description.encode(), np.uint8)
    return save(_arrays(acting.agent) | extra, metadata=named(acting.sight.identity))


def decode_parameters(
    data: bytes, template: Sighted, where: str, config: RunConfig | None = None
) -> Sighted:
    """What :func:`encode_parameters` was given; what it lacks is the template's.

    The template's sight takes what it was fitted to, if it is not fitted yet. With ``config``, an
    agent that is to correct a base and has none yet is built on the one that is in ``data``.

    Raises:
        DataError: it is damaged, or of another agent; names ``where``.
        ConfigError: it sees with another encoder, or reads with another language model.
    """
    try:
        arrays = load(data)
        identity = metadata(data)
    except safetensors.SafetensorError as error:
        raise DataError(f"{where} is damaged ({error})") from error
    sight = {k.removeprefix(_SIGHT): arrays.pop(k) for k in list(arrays) if k.startswith(_SIGHT)}
    template.sight.check_identity(identity, where)
    if not template.sight.fitted:
        template.sight.restore(sight, identity, where)
    agent, described = template.agent, arrays.pop(_BASE, None)
    if agent.base is None and config is not None and described is not None:
        description = json.loads(described.tobytes())
        base = describe_base(config, description, template.sight.seen, where)
        kind = load_agent(config.agent_name).agent
        agent = create_agent(
            kind, config.agent, template.sight.seen, config.seed, config.augment, base
        )
    return Sighted(fill_parameters(agent, arrays, where), template.sight)


def _arrays(agent: Agent) -> dict[str, np.ndarray]:
    return {name: np.asarray(leaf) for name, leaf in _leaves(agent).items()}


def fill_parameters(agent: Agent, arrays: dict[str, np.ndarray], where: str) -> Agent:
    """``agent`` with other values in its leaves, optimiser moments excepted.

    Raises:
        DataError: the arrays are not this agent's, or not finite; names ``where`` and the leaf.
    """
    wanted = _leaves(agent)
    later = {name: leaf for name, leaf in wanted.items() if name.rpartition(".")[2] in CAME_LATER}
    arrays = {name: np.asarray(leaf) for name, leaf in later.items()} | arrays
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
