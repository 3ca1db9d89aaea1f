"""What the store does while it is killed; see :mod:`tests.store.killing`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from silri.core.specs import ActionSpec, ArraySpec, EnvSpec
from silri.data.episode import Episode
from silri.store.store import EpisodeStore
from tests.data.episodes import make_episode

SPEC = EnvSpec(
    name="fake/reach",
    observation={
        "state": ArraySpec((3,)),
        "environment_state": ArraySpec((2,)),
        "images.front": ArraySpec((6, 5, 3), "uint8"),
    },
    action=ActionSpec(3, gripper=(2,)),
    max_episode_steps=10,
)
DIAGNOSTICS = ("silri/lambda", "silri/bound")
STEPS = (4, 6, 3, 5)


def episode(number: int) -> Episode:
    """The same one in every process: two demonstrations, then online ones of another task."""
    demo = number < 2
    return make_episode(
        SPEC,
        number,
        STEPS[number % 4],
        is_demo=demo,
        flags=None if demo else np.arange(STEPS[number % 4]) % 2 == 0,
        terminated=number % 2 == 0,
        diagnostics=() if demo else DIAGNOSTICS,
        task="show" if demo else "reach the goal",
        origin=f"robot-1/9f3a:{number}" if number % 2 else "",
    )


def broken_episode(number: int) -> Episode:
    """One with a NaN observation."""
    broken = episode(number)
    broken.observations["state"][1, 0] = np.nan
    return broken


def open_store(folder: Path) -> EpisodeStore:
    """The store in a run folder."""
    return EpisodeStore(folder / "episodes", folder / "quarantine", SPEC, DIAGNOSTICS)


def fill(folder: Path, count: int) -> Path:
    """A run folder with the first ``count`` episodes."""
    with open_store(folder) as store:
        for number in range(count):
            store.commit(episode(number))
    return folder


def commit_next(folder: Path) -> None:
    """Open and commit one more."""
    with open_store(folder) as store:
        store.commit(episode(len(store)))


def quarantine_next(folder: Path) -> None:
    """Open and set one aside."""
    with open_store(folder) as store:
        store.quarantine(broken_episode(store.next_episode_id), "NaN in the state")


def reopen(folder: Path) -> None:
    """Open: repairs are made."""
    open_store(folder).close()
