"""Names of environments. Listing them imports no simulator; ``create`` imports the one it needs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import gymnasium

from silri.core.errors import ConfigError
from silri.core.protocols import Env
from silri.core.registry import Entry, unknown_name
from silri.envs.config import METAWORLD, EnvConfig

# Task -> share of 100 layouts (whole range, 100 steps x 2, discrete gripper) in which Meta-World's
# own scripted expert succeeds: the ceiling that a policy's success is relative to. Measured by
# `python benchmarks/operators.py --ceilings`; docs/operators.md has the same table.
EXPERT_CEILINGS: Mapping[str, float] = {
    "assembly-v3": 1.00,
    "basketball-v3": 0.95,
    "bin-picking-v3": 0.96,
    "box-close-v3": 0.91,
    "button-press-topdown-v3": 1.00,
    "button-press-topdown-wall-v3": 1.00,
    "button-press-v3": 1.00,
    "button-press-wall-v3": 0.97,
    "coffee-button-v3": 1.00,
    "coffee-pull-v3": 1.00,
    "coffee-push-v3": 1.00,
    "dial-turn-v3": 1.00,
    "disassemble-v3": 0.93,
    "door-close-v3": 1.00,
    "door-lock-v3": 1.00,
    "door-open-v3": 1.00,
    "door-unlock-v3": 1.00,
    "drawer-close-v3": 1.00,
    "drawer-open-v3": 1.00,
    "faucet-close-v3": 1.00,
    "faucet-open-v3": 1.00,
    "hammer-v3": 1.00,
    "hand-insert-v3": 1.00,
    "handle-press-side-v3": 1.00,
    "handle-press-v3": 1.00,
    "handle-pull-side-v3": 0.84,
    "handle-pull-v3": 1.00,
    "lever-pull-v3": 0.98,
    "peg-insert-side-v3": 0.81,
    "peg-unplug-side-v3": 0.96,
    "pick-out-of-hole-v3": 0.59,
    "pick-place-v3": 1.00,
    "pick-place-wall-v3": 0.98,
    "plate-slide-back-side-v3": 1.00,
    "plate-slide-back-v3": 1.00,
    "plate-slide-side-v3": 1.00,
    "plate-slide-v3": 1.00,
    "push-back-v3": 0.93,
    "push-v3": 1.00,
    "push-wall-v3": 1.00,
    "reach-v3": 1.00,
    "reach-wall-v3": 1.00,
    "shelf-place-v3": 0.73,
    "soccer-v3": 0.88,
    "stick-pull-v3": 0.70,
    "stick-push-v3": 1.00,
    "sweep-into-v3": 0.86,
    "sweep-v3": 1.00,
    "window-close-v3": 1.00,
    "window-open-v3": 1.00,
}
_GYM = "gym/"


def metaworld_names() -> list[str]:
    """``metaworld/<task>`` for all fifty tasks."""
    return [METAWORLD + task for task in EXPERT_CEILINGS]


def gym_names() -> list[str]:
    """``gym/<id>`` for every id that is registered with Gymnasium now."""
    return [_GYM + name for name in gymnasium.registry]


def entries() -> Iterator[Entry]:
    """What ``silri list envs`` shows."""
    for task, ceiling in EXPERT_CEILINGS.items():
        yield Entry(
            METAWORLD + task,
            "silri.envs.metaworld:MetaworldEnv",
            f"scripted expert succeeds in {ceiling:.0%} of layouts",
        )
    yield Entry(
        "gym/<id>",
        "silri.envs.gym:GymEnv",
        "any Gymnasium id with Box (or Dict of Box) observations and bounded Box actions; "
        "module:<id> imports the module that registers it",
    )


def create(config: EnvConfig) -> Env:
    """Build the environment called ``config.name``.

    Raises:
        UnknownNameError: if there is none; the message lists the right names and the nearest.
        ConfigError: if its spaces are unsupported, or a field does not apply to its family.
    """
    name = config.name
    if name.startswith(METAWORLD):
        task = name.removeprefix(METAWORLD)
        if task not in EXPERT_CEILINGS:
            raise unknown_name("environment", name, metaworld_names())
        from silri.envs.metaworld import MetaworldEnv  # here: it imports MuJoCo

        return MetaworldEnv(task, config)
    from silri.envs.gym import create as create_gym

    return create_gym(_find_gym_id(name), config)


def _find_gym_id(name: str) -> str:
    """The registered id that ``name`` stands for, importing ``module`` of ``module:id`` first."""
    module, colon, identifier = name.removeprefix(_GYM).rpartition(":")
    if colon:
        _import_user_module(module, name)
    if identifier in gymnasium.registry:
        return identifier
    known = gym_names() if name.startswith(_GYM) else [*metaworld_names(), *gymnasium.registry]
    prefix = _GYM if name.startswith(_GYM) else ""
    raise unknown_name("environment", prefix + identifier, known)


def _import_user_module(module: str, name: str) -> None:
    """Import what registers a user's environment, looking in the working directory too.

    The console script, unlike ``python -m``, does not have the working directory on its path.
    """
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.append(here)
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module + ".").startswith(error.name + "."):
            raise  # the module is there; something that it imports is not
        raise ConfigError(
            f"env.name = {name!r}: no module '{module}' in {here} or on the Python path; "
            "it takes the module that calls gymnasium.register"
        ) from error
    finally:
        if added:
            sys.path.remove(here)
