"""Going on with a classifier's fit on what a person corrected, and whether it is better then.

As SiLRI does it: the network is not made anew. It goes on, on all its examples and the frames
that were judged, until these are on the right side. Calibration and threshold stay: what a person
corrects is no fair sample of what a classifier sees.

A pure function of arrays, and the bytes in which another process is asked for it: whoever
controls a robot does not compute it (:mod:`silri.runtime.acting.refitting`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from silri.core.errors import DataError
from silri.core.settings import from_plain
from silri.rewards.classifier import SuccessClassifier
from silri.rewards.config import FitConfig
from silri.rewards.examples import NONE, SUCCESS, UNCLEAR
from silri.rewards.fit import called_at
from silri.rewards.memory import Memory
from silri.rewards.network import Network, advance, logits_of

CORRECTION = 20  # frames of its class that one which a person judged counts as, at most,
MOST_CORRECTED = 0.5  # and all of them together: so many times what the episodes have
MARGIN = 1.0  # how far on the right side a corrected frame is to be, as a logit
_SAID, _MEMORY, _NETWORK, _CORRECTIONS = "said", "memory/", "network/", "corrections/"
_COUNTS = ("held_out", "wrong_before", "wrong", "learned")


@dataclass(frozen=True)
class Corrections:
    """Frames that a person judged.

    Attributes:
        features: (M, F).
        labels: (M,) 1 or 0.
    """

    features: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Verdict:
    """A network and the logit above which it takes a frame for a success."""

    network: Network
    boundary: float

    def sides(self, features: np.ndarray) -> np.ndarray:
        """(N, F) -> (N,): how far above the boundary each frame is."""
        return logits_of(self.network, features) - self.boundary


@dataclass(frozen=True)
class Refitted:
    """What came of it.

    Attributes:
        network: the new one.
        held_out: episodes that nothing was fitted on.
        wrong_before, wrong: of these, how many the old and the new one take for what they are not.
        learned: corrected frames that are on the right side now.
    """

    network: Network
    held_out: int
    wrong_before: int
    wrong: int
    learned: int

    @property
    def worse(self) -> bool:
        """The old one is to stay."""
        return self.wrong > self.wrong_before


def verdict_of(classifier: SuccessClassifier) -> Verdict:
    """What a classifier says of features.

    ``scale * logit + shift`` is the logit of its probability, which the threshold is for.

    Raises:
        DataError: the larger its logit, the less probable it holds a success.
    """
    known = classifier.known
    if known.scale <= 0:
        raise DataError("what it says and what was true have nothing in common; fit another")
    threshold = min(max(known.threshold, 1e-9), 1 - 1e-9)
    boundary = (math.log(threshold / (1 - threshold)) - known.shift) / known.scale
    return Verdict(classifier.network, boundary)


def refit(
    memory: Memory, config: FitConfig, before: Verdict, corrections: Corrections, consecutive: int
) -> Refitted:
    """Go on with the fit, on what the classifier was fitted on and the corrections.

    Args:
        memory: of the classifier.
        config: likewise.
        before: what it says now.
        corrections: all of the run, not only the new ones.
        consecutive: frames in a row that a run takes for a success.

    Raises:
        DataError: one class only; says how many frames there are.
    """
    usable = ~memory.held_out[memory.episodes] & (memory.labels != UNCLEAR)
    own = memory.features[usable].astype(np.float32), memory.labels[usable]
    added = corrections.features.astype(np.float32), corrections.labels.astype(np.int8)
    features, labels = np.concatenate([own[0], added[0]]), np.concatenate([own[1], added[1]])
    wins, losses = (int((labels == each).sum()) for each in (SUCCESS, NONE))
    if not (wins and losses):
        raise DataError(
            f"a classifier tells two classes apart; there are {wins} frames with a success and "
            f"{losses} without"
        )
    counts = np.concatenate([np.ones(len(own[1])), _counts(own[1], added[1])])

    def right(network: Network) -> np.ndarray:
        sides = Verdict(network, before.boundary).sides(added[0])
        return np.where(added[1] == SUCCESS, sides, -sides)

    network = advance(
        before.network,
        features,
        labels,
        counts,
        boundary=before.boundary,
        config=config,
        until=lambda network: bool((right(network) > MARGIN).all()),
    )
    return Refitted(
        network,
        held_out=int(memory.held_out.sum()),
        wrong_before=_wrong(memory, before, consecutive),
        wrong=_wrong(memory, Verdict(network, before.boundary), consecutive),
        learned=int((right(network) > 0).sum()),
    )


def with_refitted(
    classifier: SuccessClassifier, refitted: Refitted, corrections: tuple[str, ...]
) -> SuccessClassifier:
    """The classifier that judges from now on; ``corrections`` are names, for its description."""
    known = replace(classifier.known, corrections=corrections)
    return SuccessClassifier(classifier.sight, refitted.network, known, classifier.memory)


def _counts(own: np.ndarray, added: np.ndarray) -> np.ndarray:
    """(M,) how many frames each correction counts as: it is to be heard, and to drown nobody."""
    counts = np.ones(len(added))
    for label in (SUCCESS, NONE):
        mine = added == label
        share = MOST_CORRECTED * (own == label).sum() / max(1, mine.sum())
        counts[mine] = max(1.0, min(float(CORRECTION), share))
    return counts


def _wrong(memory: Memory, verdict: Verdict, consecutive: int) -> int:
    wrong = 0
    for episode in np.flatnonzero(memory.held_out):
        calls = verdict.sides(memory.features[memory.episodes == episode]) > 0
        success = called_at(calls, consecutive) is not None
        wrong += success != bool(memory.successes[episode])
    return wrong


# -- between two processes ------------------------------------------------------------------------


def encode_order(
    classifier: SuccessClassifier, corrections: Corrections, consecutive: int
) -> bytes:
    """What another process needs to know.

    Raises:
        DataError: the classifier remembers nothing.
    """
    if classifier.memory is None:
        raise DataError(
            "an earlier silri made it, and it has no examples to be fitted again on; make "
            "another with 'silri reward fit'"
        )
    before = verdict_of(classifier)
    said = {
        "config": asdict(classifier.known.config),
        "boundary": before.boundary,
        "consecutive": consecutive,
    }
    arrays = {_MEMORY + name: array for name, array in classifier.memory.arrays().items()}
    arrays |= {_CORRECTIONS + "features": corrections.features.astype(np.float32)}
    arrays |= {_CORRECTIONS + "labels": corrections.labels.astype(np.int8)}
    return _encode(said, arrays | _of(before.network))


def obey_order(order: bytes) -> bytes:
    """What the other process does; a refusal is an answer, too."""
    said, arrays = _decode(order)
    memory = Memory.of(_under(arrays, _MEMORY), "the order")
    assert memory is not None
    before = Verdict(Network(_under(arrays, _NETWORK)), float(said["boundary"]))
    corrections = Corrections(**_under(arrays, _CORRECTIONS))
    config = from_plain(FitConfig, said["config"])
    try:
        done = refit(memory, config, before, corrections, said["consecutive"])
    except DataError as error:
        return _encode({"refused": str(error)}, {})
    return _encode({name: getattr(done, name) for name in _COUNTS}, _of(done.network))


def decode_answer(answer: bytes) -> Refitted:
    """What came of the order.

    Raises:
        DataError: it was refused; says why.
    """
    said, arrays = _decode(answer)
    if "refused" in said:
        raise DataError(said["refused"])
    return Refitted(Network(_under(arrays, _NETWORK)), **{name: said[name] for name in _COUNTS})


def _of(network: Network) -> dict[str, np.ndarray]:
    return {_NETWORK + name: np.asarray(array) for name, array in network.arrays.items()}


def _encode(said: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    text = np.frombuffer(json.dumps(said).encode(), np.uint8)
    return save({**arrays, _SAID: text})


def _decode(data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    arrays = load(data)
    return json.loads(arrays.pop(_SAID).tobytes()), arrays


def _under(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {k.removeprefix(prefix): array for k, array in arrays.items() if k.startswith(prefix)}
