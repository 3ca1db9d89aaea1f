"""An observation becomes an embedding: once, when it arrives, checked before anybody acts on it.

::

    frames, instruction, state  --frozen model-->  embedding (F,) [, prior_action (A,)]

What a run keeps of the embedding is fitted on its demonstrations (:mod:`silri.vision.sight`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from silri.core.errors import BackboneFault, ConfigError, SpecError
from silri.core.specs import INSTRUCTION, ArraySpec, EnvSpec
from silri.vla.backbone import Backbone, Embedded, Inputs, load_backbone
from silri.vla.config import VlaConfig

EMBEDDING, PRIOR_ACTION = "embedding", "prior_action"  # keys of an observation
TOLERANCE = 0.02  # of the probe's length: other hardware differs by less, another model by more


class Embedder:
    """What a vision-language(-action) model makes of observations.

    Attributes:
        on: there is one; else nothing here does anything.
        size: F, numbers of an embedding.
        takes: keys of an observation that it depends on.
    """

    def __init__(self, config: VlaConfig, spec: EnvSpec) -> None:
        """Load the model, and check that it fits the environment.

        Raises:
            UnknownNameError, MissingExtraError, ConfigError, DataError, BackboneFault: it cannot
                be loaded, or does not fit; names the environment.
        """
        self.on, self.size, self.takes = config.model is not None, 0, tuple[str, ...]()
        self._config, self._spec = config, spec
        self._cameras: dict[str, str] = {}  # the environment's name -> the model's
        self._backbone: Backbone
        if not self.on:
            return
        for key in (EMBEDDING, PRIOR_ACTION):
            if key in spec.observation:
                raise ConfigError(f"{spec.name} has an observation '{key}' already: rename it")
        self._cameras = self._named_cameras()
        texts = self._texts()
        self._backbone = load_backbone(config)
        self.size = self._backbone.size
        self._check_cameras()
        self._check_state()
        state = () if self._backbone.state_size is None else (config.state,)
        self.takes = (*self._cameras, *texts, *state)

    @property
    def given(self) -> dict[str, ArraySpec]:
        """What stands in an observation as the model gives it: its action, if it is wanted."""
        if not (self.on and self._config.prior_action):
            return {}
        return {PRIOR_ACTION: ArraySpec((self._backbone.action_size or 0,))}

    @property
    def identity(self) -> dict[str, str]:
        """Which model it is, and a digest over it and over what it is asked about."""
        if not self.on:
            return {}
        asked = f"{self._backbone.digest} {self._cameras} {self._config.prior_action}"
        if self._backbone.state_size is not None:
            asked += f" {self._config.state}"
        return {
            "vla": f"{self._backbone.name}, {self.size} numbers",
            "vla_digest": hashlib.sha256(asked.encode()).hexdigest()[:16],
            "vla_runs_on": self._backbone.runs_on,
        }

    def __call__(self, observation: Mapping[str, np.ndarray]) -> Embedded:
        """Ask the model about one observation; both arrays are float32.

        Raises:
            SpecError: the instruction is empty; names the environment.
            BackboneFault: the model gives something else than it says, or nothing.
        """
        backbone = self._backbone
        words = str(observation.get(INSTRUCTION, self._config.instruction))
        if not words.strip():
            raise SpecError(
                f"'observation.{INSTRUCTION}' of {self._spec.name} is the empty text {words!r}; "
                "say what is to be done"
            )
        state = None
        if backbone.state_size is not None:
            state = np.asarray(observation[self._config.state], np.float32)
        frames = {theirs: observation[ours] for ours, theirs in self._cameras.items()}
        answer = backbone.embed(Inputs(frames, words, state))
        embedding = self._checked("embedding", answer.embedding, backbone.size)
        action = None
        if self._config.prior_action:
            action = self._checked("action", answer.action, backbone.action_size or 0)
        return Embedded(embedding, action)

    def probe(self) -> np.ndarray:
        """(F,) float32 of an observation that is always the same: tells whether a model is."""
        observation = {key: array.blank() for key, array in self._spec.observation.items()}
        for key in self._cameras:
            height, width, _ = self._spec.observation[key].shape
            rows, columns = np.mgrid[:height, :width]
            picture = np.stack([rows * 5, columns * 7, rows * columns], axis=-1)
            observation[key] = (picture % 256).astype(np.uint8)
        return self(observation).embedding

    def check_probe(self, probe: np.ndarray, runs_on: str, where: str, *, exact: bool) -> None:
        """Whether the model gives here what it gave where ``probe`` was made.

        Args:
            probe: (F,), what :meth:`probe` gave.
            runs_on: versions and device there.
            where: file, for the message.
            exact: to the last bit, as a resumed run needs it.

        Raises:
            ConfigError: it does not.
        """
        here = self.probe()
        length = float(np.linalg.norm(probe))
        difference = float(np.linalg.norm(here - probe)) / max(length, 1e-12)
        if difference > TOLERANCE or (exact and not np.array_equal(here, probe)):
            needs = "a resumed run needs the same bits" if difference <= TOLERANCE else "too much"
            raise ConfigError(
                f"{where} was made with {self._backbone.name} by {runs_on}; here it runs by "
                f"{self._backbone.runs_on}, and its embedding of a test picture differs by "
                f"{difference:.2g} of its length: {needs}. Use the versions and the device that it "
                "was made with"
            )

    # -- parts ------------------------------------------------------------------------------------

    def _checked(self, what: str, array: np.ndarray | None, size: int) -> np.ndarray:
        name = self._backbone.name
        if array is None or array.shape != (size,):
            got = "none" if array is None else array.shape
            raise BackboneFault(
                f"vision-language model '{name}' says that its {what} has {size} numbers; it "
                f"gave {got}"
            )
        if not np.isfinite(array).all():
            bad = int(np.flatnonzero(~np.isfinite(array))[0])
            raise BackboneFault(
                f"vision-language model '{name}': its {what} is not finite (number {bad} of {size} "
                f"is {array[bad]}). Stopped before anything acted on it; vla.dtype float32 may help"
            )
        return np.asarray(array, np.float32)

    def _named_cameras(self) -> dict[str, str]:
        there = sorted(key for key, array in self._spec.observation.items() if array.is_image)
        if not there:
            raise ConfigError(
                f"{self._spec.name} has no camera, and a vision-language model looks at pictures: "
                "give an environment with some, or no vla.model"
            )
        named: dict[str, str] = {}
        for given in self._config.cameras or there:
            ours, equals, theirs = given.partition("=")
            if ours not in there:
                raise ConfigError(f"vla.cameras: {self._spec.name} has {there}, not '{ours}'")
            named[ours] = theirs if equals else ours.removeprefix("images.")
        return named

    def _texts(self) -> tuple[str, ...]:
        array = self._spec.observation.get(INSTRUCTION)
        says, given = array is not None and array.is_text, self._config.instruction
        if not says and given is None:
            raise ConfigError(
                f"{self._spec.name} does not say what is to be done, and a vision-language model "
                "needs it: give --vla.instruction 'put the cube into the box'"
            )
        if says and given is not None:
            raise ConfigError(
                f"{self._spec.name} says itself what is to be done: leave vla.instruction out"
            )
        return (INSTRUCTION,) if says else ()

    def _check_cameras(self) -> None:
        wanted, given = self._backbone.cameras, sorted(self._cameras.values())
        if wanted is not None and sorted(wanted) != given:
            raise ConfigError(
                f"vision-language model '{self._backbone.name}' looks at the cameras "
                f"{sorted(wanted)}; {self._spec.name} gives {given}: name them with --vla.cameras "
                "OURS=THEIRS"
            )

    def _check_state(self) -> None:
        backbone, key = self._backbone, self._config.state
        if self._config.prior_action and not backbone.action_size:
            raise ConfigError(f"vla.prior_action: '{backbone.name}' gives no action")
        if backbone.state_size is None:
            return
        array = self._spec.observation.get(key)
        shape = None if array is None else array.shape
        if shape != (backbone.state_size,):
            raise ConfigError(
                f"vision-language model '{backbone.name}' takes a state of {backbone.state_size} "
                f"numbers; '{key}' of {self._spec.name} has {shape or 'none'}: give the key of its "
                "proprioception (--vla.state), or a model of this robot"
            )
