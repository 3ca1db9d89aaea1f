"""Eyes that do not learn: frames of cameras become features, once, when they arrive.

::

    frames (H, W, 3) uint8  --encoder-->  map (h, w, C)  --projection-->  features (F,) float16

Or the map is kept whole, and each network learns where to look in it (``vision.keep maps``).
An instruction is read on the way, by a language model that is as frozen as the eyes are
(:mod:`silri.language.reader`). With ``--vla.model`` a vision-language(-action) model looks
and reads instead, or beside them (:mod:`silri.vla.embedder`): its embedding is one more view.

The encoder is pretrained and frozen (:mod:`silri.nn.encoders`); the projection is fitted on the
run's demonstrations and frozen then (:mod:`silri.vision.projection`). What an agent and its replay
take is an observation whose cameras are features: vectors like any other. The store keeps frames
and words.

A step's features come from one call of fixed shape, whoever asks: they are the same, bit for bit,
when a run is resumed and the stored frames are looked at again.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from silri.core.errors import ConfigError, DataError
from silri.core.specs import ArraySpec, EnvSpec, Observation
from silri.data.episode import Episode
from silri.language.config import LanguageConfig
from silri.language.reader import Reader
from silri.nn.encoders.backbone import Backbone, Params, load_backbone
from silri.vision.config import VisionConfig
from silri.vision.projection import Projection, fit
from silri.vla.config import VlaConfig
from silri.vla.embedder import EMBEDDING, PRIOR_ACTION, Embedder

REMEMBERED = 32_000_000  # bytes of features that are held on to, so that none is computed twice
_KEPT = "float16"
_KINDS = (  # keys of an identity, what they are of, and how to give it
    ("encoder", "digest", "encoder", "--vision.encoder, --vision.weights"),
    ("language", "language_digest", "language model", "--language.model, --language.weights"),
    ("vla", "vla_digest", "vision-language model", "the section --vla"),
)
_PROBE = "vla/probe"  # of the arrays that a disk holds


class Sight:
    """What a run's agent sees of an observation.

    Attributes:
        spec: of the environment.
        seen: the same with features in place of frames and words; what agents and replays are
            made for. With a vision-language model there is ``embedding`` in it, and
            ``prior_action`` if that is wanted.
        cameras: keys whose frames become features or maps; none where there is no camera, or where
            frames are kept for encoders that learn. Without texts, too, everything here is the
            identity.
    """

    def __init__(
        self,
        config: VisionConfig,
        spec: EnvSpec,
        language: LanguageConfig | None = None,
        vla: VlaConfig | None = None,
    ) -> None:
        """Eyes for ``spec``, their projection not fitted yet; and what reads its texts.

        Raises:
            UnknownNameError, MissingExtraError, DataError: the encoder, or a model, cannot be
                loaded.
            ConfigError: the encoder's stride does not fit a camera's size, or a model something.
            BackboneFault: a model's server does not start.
        """
        vla = vla or VlaConfig()
        self.spec, self.seen = spec, spec
        self._config, self._vla_size = config, vla.size
        self._embedder = Embedder(vla, spec)
        replaced = self._embedder.on and not vla.beside
        # What an agent does not take: the embedding stands in its place.
        self._dropped = frozenset(
            key
            for key, array in spec.observation.items()
            if replaced and (array.is_image or array.is_text)
        )
        own = {key: array for key, array in spec.observation.items() if key not in self._dropped}
        cameras = [key for key, array in own.items() if array.is_image]
        self.cameras = () if config.keep == "frames" else tuple(sorted(cameras))
        self._projections: dict[str, Projection] = {}
        self._memory: OrderedDict[bytes, dict[str, np.ndarray]] = OrderedDict()
        self._remembered = 0  # bytes
        self._backbone: Backbone
        self._params: Params
        self._reader = Reader(language or LanguageConfig(), own)
        kept = self._reader.read | self._embedder.given
        if self.cameras:
            self._backbone, self._params = load_backbone(config.encoder, config.weights)
            for key in self.cameras:
                _check_size(key, spec.observation[key], self._backbone)
            kept |= {key: ArraySpec(self._kept_shape(key), _KEPT) for key in self.cameras}
        if self._embedder.on:
            kept |= {EMBEDDING: ArraySpec((vla.size,), _KEPT)}
        self._made = tuple(kept)
        if kept:
            self.seen = replace(spec, observation={**own, **kept})

    @property
    def fitted(self) -> bool:
        """Whether it can see: always, if there is nothing to fit."""
        return set(self._projections) == set(self._projected)

    @property
    def _projected(self) -> tuple[str, ...]:
        embedded = (EMBEDDING,) if self._embedder.on else ()
        return (*(self.cameras if self._config.keep == "features" else ()), *embedded)

    # -- seeing ---------------------------------------------------------------------------------

    def __call__(self, observation: Observation) -> Observation:
        """One observation as an agent takes it; what was seen before is not computed again.

        Raises:
            DataError: it is not fitted yet.
        """
        read = self._reader(observation)
        if not (self.cameras or self._embedder.on):
            return {**observation, **read} if read else observation
        key = self._digest(observation)
        features = self._memory.get(key)
        if features is None:
            features = self._project(self._maps(observation))
            self._memorise(key, features)
        return {**self._taken(observation), **features, **read}

    def batch(self, observations: Observation) -> Observation:
        """Observations with one leading axis, or with none."""
        lead = next(iter(observations.values())).ndim - len(
            self.spec.observation[next(iter(observations))].shape
        )
        if not self._made or not lead:
            return self(observations)
        count = len(next(iter(observations.values())))
        rows = [self(_row(observations, index)) for index in range(count)]
        seen = {key: np.stack([row[key] for row in rows]) for key in self._made}
        return {**self._taken(observations), **seen}

    def episode(self, episode: Episode) -> Episode:
        """A stored episode as a replay takes it."""
        if not self._made:
            return episode
        return replace(episode, observations=self.batch(episode.observations))

    # -- fitting --------------------------------------------------------------------------------

    def fit(self, episodes: Sequence[Episode]) -> None:
        """Fit every camera's projection on the frames of ``episodes``, and remember them.

        Raises:
            DataError: there is none.
        """
        if self.fitted:
            return
        if not episodes:
            raise DataError(
                "nothing to fit what the cameras see on: with frozen features a run takes "
                "demonstrations (--data.demos, --data.dataset), or --vision.keep frames"
            )
        self.fit_rows([_row(e.observations, i) for e in episodes for i in range(len(e) + 1)])

    def fit_rows(self, rows: Sequence[Observation]) -> None:
        """Likewise, on single observations; each needs what is looked at only.

        Raises:
            DataError: fewer than two.
        """
        maps = [self._maps(row) for row in rows]
        for camera in self._projected:
            flat = np.stack([each[camera] for each in maps])
            self._projections[camera] = fit(flat, self._size(camera))
        for row, each in zip(rows, maps, strict=True):
            self._memorise(self._digest(row), self._project(each))

    # -- what a disk holds ------------------------------------------------------------------------

    def arrays(self) -> dict[str, np.ndarray]:
        """What was fitted, by name."""
        fitted = {
            f"{camera}/{name}": np.asarray(getattr(projection, name))
            for camera, projection in sorted(self._projections.items())
            for name in ("mean", "weights")
        }
        return fitted | ({_PROBE: self._probe} if self._embedder.on else {})

    @functools.cached_property
    def _probe(self) -> np.ndarray:
        return self._embedder.probe()

    @property
    def identity(self) -> dict[str, str]:
        """Which encoder and which models: their names, and the digests of their weights."""
        eyes = (
            {"encoder": self._backbone.name, "digest": self._backbone.digest}
            if self.cameras
            else {}
        )
        return eyes | self._reader.identity | self._embedder.identity

    def check_identity(self, identity: Mapping[str, Any], where: str) -> None:
        """Whether what ``where`` holds was made with this encoder and these models.

        Raises:
            ConfigError: it was made with another one; names both.
        """
        mine = self.identity
        for kind, digest, what, options in _KINDS:
            theirs, ours = (_named(each, kind, digest) for each in (identity, mine))
            if identity.get(digest) != mine.get(digest):
                raise ConfigError(
                    f"{where} was fitted for the {what} {theirs}; here is {ours}. Features of one "
                    f"mean nothing to the other: give the {what} ({options}) that it was trained "
                    "with"
                )

    def restore(
        self,
        arrays: Mapping[str, np.ndarray],
        identity: Mapping[str, Any],
        where: str,
        *,
        exact: bool = False,
    ) -> None:
        """Take what :meth:`arrays` gave.

        Args:
            arrays: see there.
            identity: of the sight that gave them.
            where: file, for messages.
            exact: a vision-language model must give the same bits here: a run is resumed.

        Raises:
            ConfigError: it was fitted for another encoder or model; names both.
            DataError: an array is missing, or has another shape; names ``where``.
        """
        self.check_identity(identity, where)
        wanted = {
            f"{camera}/{name}": shape
            for camera in self._projected
            for name, shape in (
                ("mean", (self._map_size(camera),)),
                ("weights", (self._map_size(camera), self._size(camera))),
            )
        }
        if self._embedder.on:
            wanted[_PROBE] = (self._embedder.size,)
        found = {name: array.shape for name, array in arrays.items()}
        if found != wanted:
            odd = sorted(k for k in found | wanted if found.get(k) != wanted.get(k))[0]
            raise DataError(f"'{odd}' in {where} has shape {found.get(odd)}, not {wanted.get(odd)}")
        if self._embedder.on:
            runs_on = str(identity.get("vla_runs_on", ""))
            self._embedder.check_probe(arrays[_PROBE], runs_on, where, exact=exact)
            self._probe = arrays[_PROBE]
        for camera in self._projected:
            self._projections[camera] = Projection(
                arrays[f"{camera}/mean"], arrays[f"{camera}/weights"]
            )
        self._memory.clear()
        self._remembered = 0

    # -- parts ------------------------------------------------------------------------------------

    def _maps(self, observation: Observation) -> dict[str, np.ndarray]:
        """Every camera's map of one observation, (M,) float32; frames of one size in one call.

        Likewise the embedding; an action goes along.
        """
        sizes: dict[tuple[int, ...], list[str]] = {}
        for camera in self.cameras:
            sizes.setdefault(self.spec.observation[camera].shape, []).append(camera)
        maps: dict[str, np.ndarray] = {}
        for cameras in sizes.values():
            frames = np.stack([observation[camera] for camera in cameras])
            found = np.asarray(_encode(self._backbone, self._params, frames))
            maps |= dict(zip(cameras, found, strict=True))
        if self._embedder.on:
            answer = self._embedder(observation)
            maps[EMBEDDING] = answer.embedding
            if answer.action is not None:
                maps[PRIOR_ACTION] = answer.action
        return maps

    def _project(self, maps: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if not self.fitted:
            raise DataError("what the cameras see is not fitted yet: there are no demonstrations")
        features = {}
        for key, flat in maps.items():
            if key in self._projected:
                features[key] = np.asarray(_features(self._projections[key], flat))
            elif key == PRIOR_ACTION:
                features[key] = flat
            else:
                features[key] = flat.reshape(self._kept_shape(key)).astype(_KEPT)
        return features

    def _taken(self, observation: Observation) -> Observation:
        """What an agent takes as it is, and what is about to be replaced."""
        if not self._dropped:
            return observation
        return {key: value for key, value in observation.items() if key not in self._dropped}

    def _size(self, key: str) -> int:
        """Numbers that are kept of a map or of the embedding."""
        return self._vla_size if key == EMBEDDING else self._config.size

    def _kept_shape(self, camera: str) -> tuple[int, ...]:
        return (self._config.size,) if camera in self._projected else self._map_shape(camera)

    def _map_shape(self, camera: str) -> tuple[int, int, int]:
        height, width, _ = self.spec.observation[camera].shape
        stride = self._backbone.stride
        return (height // stride, width // stride, self._backbone.channels)

    def _map_size(self, camera: str) -> int:
        return self._embedder.size if camera == EMBEDDING else math.prod(self._map_shape(camera))

    def _digest(self, observation: Observation) -> bytes:
        hashed = hashlib.blake2b(digest_size=16)
        for key in dict.fromkeys((*self.cameras, *self._embedder.takes)):
            hashed.update(np.asarray(observation[key]).tobytes())
        return hashed.digest()

    def _memorise(self, key: bytes, features: dict[str, np.ndarray]) -> None:
        self._memory[key] = features
        self._remembered += _size(features)
        while self._remembered > REMEMBERED:
            self._remembered -= _size(self._memory.popitem(last=False)[1])


@functools.partial(jax.jit, static_argnames="backbone")
def _encode(backbone: Backbone, params: Params, frames: jax.Array) -> jax.Array:
    """(N, H, W, 3) uint8 -> (N, M) float32."""
    return backbone.apply(params, frames).reshape(frames.shape[0], -1)


@jax.jit
def _features(projection: Projection, flat: jax.Array) -> jax.Array:
    """(M,) -> (F,) float16."""
    centred = (flat - projection.mean)[None]
    features = jnp.matmul(centred, projection.weights, precision=jax.lax.Precision.HIGHEST)[0]
    return features.astype(jnp.float16)


def _size(features: Mapping[str, np.ndarray]) -> int:
    return sum(array.nbytes for array in features.values())


def _row(observations: Observation, index: int) -> Observation:
    return {key: value[index] for key, value in observations.items()}


def _named(identity: Mapping[str, Any], kind: str, digest: str) -> str:
    return f"'{identity[kind]}' ({identity.get(digest)})" if kind in identity else "none"


def _check_size(key: str, array: ArraySpec, backbone: Backbone) -> None:
    height, width, channels = (*array.shape, 0, 0, 0)[:3]
    if channels != 3 or height % backbone.stride or width % backbone.stride:
        raise ConfigError(
            f"the camera '{key}' gives frames {array.shape}; encoder '{backbone.name}' takes "
            f"(H, W, 3) with sides that are multiples of {backbone.stride}: resize them "
            "(--env.image-size), or let a small encoder learn (--vision.keep frames)"
        )
