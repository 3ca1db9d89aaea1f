"""A success classifier: frames to the probability that the task is done; its files."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors.numpy import load, save

from silri.core.errors import ConfigError, DataError
from silri.core.settings import from_plain
from silri.core.specs import ActionSpec, ArraySpec, EnvSpec, Observation
from silri.rewards.config import FitConfig
from silri.rewards.memory import Memory
from silri.rewards.network import Network, logits_of, sigmoid
from silri.store.safety import files
from silri.vision.files import metadata, named
from silri.vision.sight import Sight

WEIGHTS, DESCRIPTION = "classifier.safetensors", "classifier.json"
FORMAT = 1
_SIGHT, _NETWORK, _MEMORY = "sight/", "network/", "memory/"


@dataclass(frozen=True)
class Known:
    """What is known of a classifier beside its arrays.

    Attributes:
        config: how it was fitted.
        scale, shift: of its calibration: the probability is sigmoid(scale * logit + shift).
        threshold: a frame shows a success if its probability is above it.
        data: folders that it was fitted on.
        held_out: keys of the episodes in them that it was not fitted on.
        fitted: keys of those that it was.
        chosen_on: frames that the threshold was chosen on: ``positives``, ``negatives``, and of
            these the ``false_positives`` at it.
        corrections: names of the frames that a person judged in a run, and that it was fitted
            again on.
    """

    config: FitConfig
    scale: float
    shift: float
    threshold: float
    data: tuple[str, ...]
    held_out: tuple[str, ...]
    fitted: tuple[str, ...]
    chosen_on: dict[str, int]
    corrections: tuple[str, ...] = ()


class SuccessClassifier:
    """Whether frames show that the task is done.

    Attributes:
        sight: makes features of frames.
        network: makes a logit of features.
        known: calibration, threshold, and where it comes from.
        memory: what it was fitted on; None: an earlier silri fitted it, and kept nothing.
    """

    def __init__(
        self, sight: Sight, network: Network, known: Known, memory: Memory | None = None
    ) -> None:
        self.sight, self.network, self.known, self.memory = sight, network, known, memory

    @property
    def cameras(self) -> dict[str, tuple[int, ...]]:
        """What it looks at: camera to (H, W, 3)."""
        return {key: self.sight.spec.observation[key].shape for key in self.sight.cameras}

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that tell it from every other classifier."""
        return hashlib.sha256(self._weights() + self._description()).hexdigest()[:16]

    def __call__(self, observation: Observation) -> float:
        """The probability that one observation shows a success."""
        frames = {camera: observation[camera] for camera in self.sight.cameras}
        return float(self.probabilities([self.sight(frames)])[0])

    def probabilities(self, seen: Sequence[Observation]) -> np.ndarray:
        """(N,) float64 of observations that the sight has seen already."""
        logits = logits_of(self.network, flat(seen, self.sight.cameras))
        return sigmoid(self.known.scale * logits + self.known.shift)

    def check_fits(self, spec: EnvSpec, where: str) -> None:
        """Whether an environment has its cameras.

        Raises:
            ConfigError: one is missing, or gives frames of another shape; names both.
        """
        for camera, shape in self.cameras.items():
            array = spec.observation.get(camera)
            found = "no such camera" if array is None else f"frames {array.shape} of {array.dtype}"
            if array is None or (array.shape, array.dtype) != (shape, "uint8"):
                raise ConfigError(
                    f"the success classifier in {where} looks at '{camera}', frames {shape} of "
                    f"uint8; {spec.name} has {found} ({', '.join(sorted(spec.observation))}): "
                    "give the cameras that it was fitted on, or fit another"
                )

    # -- files ------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write the arrays, then ``classifier.json``, which names them and counts.

        Whoever dies in between leaves the classifier that was there, whole.
        """
        files.make_dir(folder)
        data = self._weights()
        replaces = (folder / DESCRIPTION).is_file()
        name = f"classifier-{hashlib.sha256(data).hexdigest()[:16]}.safetensors"
        name = name if replaces else WEIGHTS
        files.atomic_write(folder / name, data)
        files.atomic_write(folder / DESCRIPTION, self._description(name))
        for old in sorted(folder.glob("classifier*.safetensors*")):
            if old.name != name:
                files.remove(old)

    def _weights(self) -> bytes:
        arrays = {_SIGHT + name: array for name, array in self.sight.arrays().items()}
        arrays |= {_NETWORK + name: np.asarray(a) for name, a in self.network.arrays.items()}
        kept = {} if self.memory is None else self.memory.arrays()
        arrays |= {_MEMORY + name: array for name, array in kept.items()}
        return save(arrays, metadata=named(self.sight.identity))

    def _description(self, weights: str = WEIGHTS) -> bytes:
        record = {
            "format": FORMAT,
            "weights": weights,
            "encoder": self.sight.identity,
            "cameras": {key: list(shape) for key, shape in self.cameras.items()},
            "sha256": hashlib.sha256(self._weights()).hexdigest(),
            "known": asdict(self.known),
        }
        return json.dumps(record, indent=2).encode()


def flat(seen: Sequence[Observation], cameras: Sequence[str]) -> np.ndarray:
    """(N, F) float32: the features of all cameras, one after the other."""
    rows = [np.concatenate([each[camera] for camera in cameras]) for each in seen]
    return np.stack(rows).astype(np.float32)


def load_classifier(folder: Path) -> SuccessClassifier:
    """Read what :meth:`SuccessClassifier.save` wrote.

    Raises:
        DataError: there is none, or it is damaged or of another version; names the file.
        ConfigError: it was fitted for another encoder than the one that its name gives here.
    """
    try:
        record = _described((folder / DESCRIPTION).read_bytes(), folder / DESCRIPTION)
        weights = folder / Path(str(record.get("weights", WEIGHTS))).name
        data = weights.read_bytes()
    except FileNotFoundError as error:
        raise DataError(
            f"{folder} holds no success classifier ({error.filename} is missing); "
            "'silri reward fit' makes one"
        ) from error
    if hashlib.sha256(data).hexdigest() != record.get("sha256"):
        raise DataError(f"{weights} is damaged, or belongs to another {DESCRIPTION}")
    known = _known(record, folder / DESCRIPTION)
    cameras = {k: ArraySpec(tuple(shape), "uint8") for k, shape in record["cameras"].items()}
    sight = Sight(known.config.vision, EnvSpec("cameras", cameras, ActionSpec(1), 1))
    try:
        arrays = load(data)
    except safetensors.SafetensorError as error:
        raise DataError(f"{weights} is damaged ({error})") from error
    sight.restore(_under(arrays, _SIGHT), metadata(data), str(weights))
    network = Network(_under(arrays, _NETWORK))
    _check_network(network, known.config, len(cameras), weights)
    memory = Memory.of(_under(arrays, _MEMORY), str(weights))
    return SuccessClassifier(sight, network, known, memory)


def _under(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {k.removeprefix(prefix): array for k, array in arrays.items() if k.startswith(prefix)}


def _described(text: bytes, path: Path) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}); fit the classifier again") from error
    version = record.get("format") if isinstance(record, dict) else None
    if version != FORMAT:
        raise DataError(
            f"{path} has format {version}; this version of silri reads {FORMAT}: fit it again"
        )
    return dict(record)


def _known(record: Mapping[str, Any], path: Path) -> Known:
    try:
        plain = dict(record["known"])
        config = from_plain(FitConfig, plain.pop("config"))
        numbers = {name: float(plain[name]) for name in ("scale", "shift", "threshold")}
        data, held_out, fitted = (
            tuple(map(str, plain[name])) for name in ("data", "held_out", "fitted")
        )
        counts = {str(name): int(count) for name, count in plain["chosen_on"].items()}
        corrections = tuple(map(str, plain.get("corrections", ())))
        cameras = [shape for shape in record["cameras"].values() if len(shape) == 3]
        if not (cameras and all(map(math.isfinite, numbers.values()))):
            raise ValueError("cameras or calibration")
    except (AttributeError, ConfigError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error}); fit the classifier again") from error
    return Known(
        config=config,
        data=data,
        held_out=held_out,
        fitted=fitted,
        chosen_on=counts,
        corrections=corrections,
        **numbers,
    )


def _check_network(network: Network, config: FitConfig, cameras: int, path: Path) -> None:
    inputs, hidden = cameras * config.size, config.hidden
    wanted: dict[str, tuple[int, ...]] = {"out/weights": (hidden or inputs, 1), "out/bias": (1,)}
    if hidden:
        wanted |= {"hidden/weights": (inputs, hidden), "hidden/bias": (hidden,)}
    found = {name: array.shape for name, array in network.arrays.items()}
    if found != wanted:
        raise DataError(f"the network in {path} has shapes {found}, not {wanted}: fit it again")
