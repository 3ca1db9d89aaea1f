"""Start from what there is: an agent whose policy is one that was trained before.

Networks are copied, not imitated: the policy acts in the first episode as it did when it was
saved. Critics, multiplier and the person as learned begin anew, from the run's own data.
"""

from __future__ import annotations

from typing import Any, TypeVar

import jax

from silri.agents.base import Agent
from silri.core.errors import ConfigError
from silri.nn.heads import GaussianPolicy, MeanPolicy
from silri.nn.train_state import Params, TrainState

A = TypeVar("A", bound=Agent)
# What decides: a network, the average of it that acts, and whatever follows it.
ACTOR = ("actor", "average_actor", "target_actor")
GRIPPERS = (("gripper", "average_gripper"), ("grasp", "target_grasp"))
_MEANS = (MeanPolicy, GaussianPolicy)  # their first output layer is the mean, before its tanh
_DEVIATION = "['Dense_1']"  # the second one, which a policy with a fixed deviation lacks


def start_from(agent: A, trained: Agent, where: str) -> tuple[A, list[str]]:
    """``agent`` with the policy and the normaliser of ``trained``.

    Args:
        agent: fresh.
        trained: of any algorithm whose policy has the same networks.
        where: it was loaded from, for messages.

    Returns:
        The agent, and what could not be taken over, one sentence each.

    Raises:
        ConfigError: other actions, observations or networks; names what differs.
    """
    if trained.base is not None:
        raise ConfigError(
            f"{where} corrects another policy and is none without it: correct it further "
            "(--residual.base), or start from a policy that acts alone"
        )
    if agent.action_spec != trained.action_spec:
        raise ConfigError(
            f"{where} acts by {trained.action_spec}; this environment takes {agent.action_spec}"
        )
    _check_observations(agent, trained, where)
    fields: dict[str, Any] = {"normalizer": trained.normalizer}
    fields |= taken(agent, ACTOR, _policy(agent, trained, where))
    notes = []
    for names in GRIPPERS:
        own, theirs = getattr(agent, names[0], None), getattr(trained, names[0], None)
        if own is None:
            continue
        if theirs is None or _shapes(own.params) != _shapes(theirs.params):
            notes.append(
                f"the gripper begins anew: {where} decides it by another network; demonstrations "
                "or a stage that clones teach it before the first episode"
            )
            continue
        acts = names[1] if names[1].startswith("average") else names[0]
        fields |= taken(agent, names, _params(trained, names[0], acts))
    return agent.replace(**fields), notes


def _check_observations(agent: Agent, trained: Agent, where: str) -> None:
    def layout(normalizer: Any) -> dict[str, Any]:
        shapes = {key: value.shape for key, value in sorted(normalizer.mean.items())}
        return {"vectors": shapes, "augment.relative": normalizer.unit}

    own, theirs = layout(agent.normalizer), layout(trained.normalizer)
    for name, value in own.items():
        if theirs[name] != value:
            raise ConfigError(
                f"{where} observes {name} {theirs[name]}; this run has {value}: give it the same "
                "environment, cameras and augment.relative"
            )


def _policy(agent: Agent, trained: Agent, where: str) -> Params:
    """The trained policy's parameters, in the tree of the agent's own."""
    given = _flat(_params(trained, "actor", "average_actor"))
    paths, structure = jax.tree_util.tree_flatten_with_path(agent.actor.params)  # type: ignore[attr-defined]
    alike = isinstance(_module(agent), _MEANS) and isinstance(_module(trained), _MEANS)
    same_kind = alike or type(_module(agent)) is type(_module(trained))
    leaves = []
    for path, leaf in paths:
        name = jax.tree_util.keystr(path)
        if name not in given and alike and name.startswith(_DEVIATION):
            leaves.append(leaf)  # it had a fixed deviation: this one is learned
            continue
        found = given.get(name)
        if not same_kind or found is None or found.shape != leaf.shape:
            shape = "nothing like it" if not same_kind or found is None else found.shape
            raise ConfigError(
                f"the policy of {where} is another network: {type(trained).__name__} has {shape} "
                f"where {type(agent).__name__} has {name} {leaf.shape}; give both the same "
                "agent.trunk and cameras, or start with the algorithm that it was trained with"
            )
        leaves.append(found)
    unused = set(given) - {jax.tree_util.keystr(path) for path, _ in paths}
    if odd := sorted(name for name in unused if not (alike and name.startswith(_DEVIATION))):
        raise ConfigError(f"the policy of {where} is another network: it has {odd[0]} besides")
    return jax.tree_util.tree_unflatten(structure, leaves)


def taken(agent: Agent, names: tuple[str, ...], params: Params) -> dict[str, Any]:
    """The fields of ``names`` that the agent has, the first as a network with fresh moments."""
    state: TrainState = getattr(agent, names[0])
    fields: dict[str, Any] = {
        names[0]: state.replace(params=params, opt_state=state.optimizer.init(params))
    }
    return fields | {name: params for name in names[1:] if hasattr(agent, name)}


def _params(trained: Agent, network: str, average: str) -> Params:
    """Of what acts: the average where there is one."""
    if average != network and hasattr(trained, average):
        return getattr(trained, average)
    return getattr(trained, network).params


def _module(agent: Agent) -> Any:
    return agent.actor.module  # type: ignore[attr-defined]


def _flat(tree: Params) -> dict[str, jax.Array]:
    paths, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path): leaf for path, leaf in paths}


def _shapes(tree: Params) -> dict[str, tuple[int, ...]]:
    return {name: leaf.shape for name, leaf in _flat(tree).items()}
