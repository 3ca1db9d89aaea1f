"""Putting a dataset in order, and making one of several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from silri.core.errors import SpecError, UsageError
from silri.core.specs import ArraySpec, EnvSpec
from silri.store.dataset import iterate_encoded
from silri.store.safety import files
from silri.store.safety.space import check_writable, explained
from silri.store.store import EpisodeStore
from silri.store.tools.survey import Place, stored_spec


class Merged(NamedTuple):
    """What a merge did.

    Attributes:
        episodes: in the new dataset.
        twice: were left out, since an episode of the same origin was there already.
    """

    episodes: int
    twice: int


def repair(place: Place) -> list[str]:
    """Do what opening for recording does: set the damaged aside, close the gaps; says what.

    Raises:
        DataError: another program wrote it, or a later version.
        RunFolderError: a process is writing there.
    """
    spec, diagnostics = stored_spec(place, empty=True)
    with EpisodeStore(place.episodes, place.quarantine, spec, diagnostics) as store:
        return store.messages


def merge(sources: Sequence[Place], out: Path) -> Merged:
    """A new dataset with the episodes of all, in order.

    They get new numbers and keep their origins. What was set aside is left where it is.

    Args:
        sources: with equal observations, actions and rates; datasets of other programs are read
            as demonstrations.
        out: does not exist yet; it appears when it is whole.

    Raises:
        UsageError: ``out`` exists, or there is no source.
        SpecError: two sources have unequal columns; names the first.
        DataError: a source is damaged, or the disk is full.
    """
    if not sources:
        raise UsageError("name at least one dataset to merge")
    refuse_existing(out)
    described = [stored_spec(place) for place in sources]
    spec = described[0][0]
    for place, (other, _) in zip(sources, described, strict=True):
        _check_equal(sources[0].episodes, spec, place.episodes, other)
    names = sorted({name for _, diagnostics in described for name in diagnostics})
    beside = files.temporary(out)
    if beside.exists():  # of a merge that was interrupted
        files.remove_tree(beside)
    twice = 0
    # Nothing is set aside in a merge: a damaged source ends it.
    with EpisodeStore(beside, beside / "quarantine", spec, names) as store:
        for place in sources:
            for episode in iterate_encoded(place.episodes, spec):
                if episode.origin in store.origins:
                    twice += 1
                    continue
                store.commit(episode.numbered(store.next_episode_id))
        episodes = len(store)
    with explained(out, "the merged dataset"):
        files.rename(beside, out)
    return Merged(episodes, twice)


def refuse_existing(out: Path) -> None:
    """Nothing is overwritten.

    Raises:
        UsageError: there is something at ``out``, or it cannot be written.
    """
    check_writable(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists already; name a new folder with --out")
    with explained(out, "a dataset"):
        files.make_dir(out.parent)


def _check_equal(first: Path, spec: EnvSpec, path: Path, other: EnvSpec) -> None:
    ours, theirs = _columns(spec), _columns(other)
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            raise SpecError(
                f"'{name}' is {_text(ours.get(name))} in {first} and {_text(theirs.get(name))} in "
                f"{path}; only datasets with equal columns can be merged"
            )
    if spec.control_hz != other.control_hz:
        raise SpecError(
            f"'fps' is {spec.control_hz:g} in {first} and {other.control_hz:g} in {path}; only "
            "datasets of one rate can be merged"
        )


def _columns(spec: EnvSpec) -> dict[str, ArraySpec]:
    columns = {f"observation.{key}": array for key, array in spec.observation.items()}
    return columns | {"action": ArraySpec((spec.action.size,))}


def _text(array: ArraySpec | None) -> str:
    return "missing" if array is None else f"{array.dtype}{array.shape}"
