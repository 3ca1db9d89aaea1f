"""Reading: an instruction becomes numbers, once, when it arrives.

::

    text ()  --frozen language model-->  sentence (1, F) float16, numbers of deviation 1 or so

A model's vectors have length 1, and so numbers of size 1 / sqrt(F): they are multiplied by
sqrt(F), and that is all that is done to them. No statistics of a run's few sentences could say
what the numbers of a sentence that nobody has said yet will be. The store keeps the words.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping

import numpy as np

from silri.core.errors import SpecError
from silri.core.specs import ArraySpec
from silri.language.config import LanguageConfig
from silri.language.model import LanguageModel, load_model

REMEMBERED = 10_000  # sentences that are held on to, so that none is read twice
_KEPT = "float16"


class Reader:
    """What becomes of the texts of an observation.

    Attributes:
        texts: keys of texts; none where there is no text. Then nothing here does anything.
    """

    def __init__(self, config: LanguageConfig, observation: Mapping[str, ArraySpec]) -> None:
        """Open the language model, if there is something to read.

        Raises:
            UnknownNameError, MissingExtraError, ConfigError, DataError: it cannot be loaded.
        """
        self.texts = tuple(sorted(key for key, array in observation.items() if array.is_text))
        self._memory: OrderedDict[str, np.ndarray] = OrderedDict()
        self._model: LanguageModel
        if self.texts:
            self._model = load_model(config.model, config.weights)

    @property
    def read(self) -> dict[str, ArraySpec]:
        """What stands in the places of the texts."""
        return {key: ArraySpec((1, self._model.size), _KEPT) for key in self.texts}

    @property
    def identity(self) -> dict[str, str]:
        """Which language model it is: its name, and the digest of its weights."""
        if not self.texts:
            return {}
        return {"language": self._model.name, "language_digest": self._model.digest}

    def __call__(self, observation: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The texts of one observation as (1, F) float16 each.

        Raises:
            SpecError: one is empty, or the model gives something else than it says.
            ConfigError: one is too long for the model.
        """
        return {key: self._sentence(key, str(observation[key])) for key in self.texts}

    def _sentence(self, key: str, text: str) -> np.ndarray:
        known = self._memory.get(text)
        if known is not None:
            return known
        if not text.strip():
            raise SpecError(
                f"'observation.{key}' is the empty text {text!r}; say what is to be done"
            )
        vector, size = self._model.embed(text), self._model.size
        if vector.shape != (size,) or not np.isfinite(vector).all():
            raise SpecError(
                f"language model '{self._model.name}' says that it gives {size} finite numbers; of "
                f"{text!r} it made {vector.shape}"
            )
        sentence = (vector * math.sqrt(size)).astype(_KEPT)[None]
        self._memory[text] = sentence
        if len(self._memory) > REMEMBERED:
            self._memory.popitem(last=False)
        return sentence
