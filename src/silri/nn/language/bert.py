"""BERT's encoder with mean pooling: the tokens of a sentence become one vector of length 1.

The network of Sentence-BERT (arXiv 1908.10084), frozen, from the arrays of a Hugging Face
checkpoint by their own names. Sizes are read off the arrays; dropout is for training only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from silri.core.errors import DataError
from silri.nn.encoders.weights import pick

HEAD = 32  # numbers of one attention head in the MiniLM family
EPSILON = 1e-12  # of every LayerNorm
_BLOCKED = -1e9  # logit of what is only padding
_LAYER = re.compile(r"encoder\.layer\.(\d+)\.")

Params = Mapping[str, jax.Array]


def arrays_of(arrays: Mapping[str, np.ndarray], what: str) -> dict[str, np.ndarray]:
    """What :func:`encode` needs of a checkpoint, float32, by its own names.

    Args:
        arrays: the file's.
        what: file and network, for messages.

    Raises:
        DataError: an array is missing, of another shape, or not finite; or these are not the
            arrays of a BERT.
    """
    words = arrays.get("embeddings.word_embeddings.weight")
    places = arrays.get("embeddings.position_embeddings.weight")
    first = arrays.get("encoder.layer.0.intermediate.dense.weight")
    if words is None or places is None or first is None:
        raise DataError(f"{what}: no BERT; the file has {', '.join(sorted(arrays)[:3])}, ...")
    size, inner = words.shape[1], first.shape[0]
    if size % HEAD:
        raise DataError(f"{what}: vectors of {size}; heads of {HEAD} want a multiple of that")
    norm = {"LayerNorm.weight": (size,), "LayerNorm.bias": (size,)}
    wanted: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": words.shape,
        "embeddings.position_embeddings.weight": (len(places), size),
        "embeddings.token_type_embeddings.weight": (2, size),
    }
    wanted |= {f"embeddings.{name}": shape for name, shape in norm.items()}
    for layer in range(_depth(arrays)):
        at = f"encoder.layer.{layer}."
        for name, outputs, inputs in (
            ("attention.self.query", size, size),
            ("attention.self.key", size, size),
            ("attention.self.value", size, size),
            ("attention.output.dense", size, size),
            ("intermediate.dense", inner, size),
            ("output.dense", size, inner),
        ):
            wanted[f"{at}{name}.weight"] = (outputs, inputs)
            wanted[f"{at}{name}.bias"] = (outputs,)
        for part in ("attention.output.", "output."):
            wanted |= {f"{at}{part}{name}": shape for name, shape in norm.items()}
    return pick(arrays, wanted, what)


def encode(params: Params, tokens: jax.Array, mask: jax.Array) -> jax.Array:
    """The vector of each sentence.

    Args:
        params: see :func:`arrays_of`.
        tokens: (N, T) int32, those of a sentence first.
        mask: (N, T) float32, 1 where there is a token and 0 where there is padding.

    Returns:
        (N, F) float32, each of length 1.
    """
    x = params["embeddings.word_embeddings.weight"][tokens]
    x = x + params["embeddings.position_embeddings.weight"][None, : tokens.shape[1]]
    x = x + params["embeddings.token_type_embeddings.weight"][None, :1]
    x = _norm(params, "embeddings.", x)
    for layer in range(_depth(params)):
        at = f"encoder.layer.{layer}."
        x = _norm(params, f"{at}attention.output.", x + _attention(params, at, x, mask))
        y = jax.nn.gelu(_dense(params, f"{at}intermediate.dense", x), approximate=False)
        x = _norm(params, f"{at}output.", x + _dense(params, f"{at}output.dense", y))
    pooled = jnp.sum(x * mask[..., None], axis=1) / jnp.sum(mask, axis=1, keepdims=True)
    return pooled / jnp.linalg.norm(pooled, axis=-1, keepdims=True)


def _attention(params: Params, at: str, x: jax.Array, mask: jax.Array) -> jax.Array:
    """(N, T, F) -> (N, T, F): every token looks at every other one, but not at padding."""
    query, key, value = (
        _dense(params, f"{at}attention.self.{name}", x).reshape(*x.shape[:2], -1, HEAD)
        for name in ("query", "key", "value")
    )
    logits = jnp.einsum("nqhd,nkhd->nhqk", query, key, precision="highest") / math.sqrt(HEAD)
    shares = jax.nn.softmax(jnp.where(mask[:, None, None] > 0, logits, _BLOCKED), axis=-1)
    mixed = jnp.einsum("nhqk,nkhd->nqhd", shares, value, precision="highest")
    return _dense(params, f"{at}attention.output.dense", mixed.reshape(x.shape))


def _dense(params: Params, name: str, x: jax.Array) -> jax.Array:
    """x W' + b; PyTorch keeps a matrix as (outputs, inputs)."""
    product = jnp.einsum("...i,oi->...o", x, params[f"{name}.weight"], precision="highest")
    return product + params[f"{name}.bias"].reshape((1,) * (x.ndim - 1) + (-1,))


def _norm(params: Params, at: str, x: jax.Array) -> jax.Array:
    """LayerNorm over the last axis."""
    lead = (1,) * (x.ndim - 1) + (-1,)
    scale, bias = (params[f"{at}LayerNorm.{name}"].reshape(lead) for name in ("weight", "bias"))
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(centred**2, axis=-1, keepdims=True)
    return centred / jnp.sqrt(variance + EPSILON) * scale + bias


def _depth(arrays: Mapping[str, object]) -> int:
    """How many layers there are."""
    return 1 + max(int(found[1]) for name in arrays if (found := _LAYER.match(name)))
