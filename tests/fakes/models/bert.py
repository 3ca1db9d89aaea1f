"""A small BERT with random weights."""

from __future__ import annotations

import numpy as np

SIZE, INNER, WORDS, PLACES = 64, 96, 30, 16


def random_arrays(layers=2, seed=0):
    """A checkpoint by the names of Hugging Face, beside an array that nobody needs."""
    rng = np.random.default_rng(seed)
    shapes = {
        "embeddings.word_embeddings.weight": (WORDS, SIZE),
        "embeddings.position_embeddings.weight": (PLACES, SIZE),
        "embeddings.token_type_embeddings.weight": (2, SIZE),
        "pooler.dense.weight": (SIZE, SIZE),
    }
    norms = ["embeddings."]
    for layer in range(layers):
        at = f"encoder.layer.{layer}."
        norms += [f"{at}attention.output.", f"{at}output."]
        for name, out, into in (
            ("attention.self.query", SIZE, SIZE),
            ("attention.self.key", SIZE, SIZE),
            ("attention.self.value", SIZE, SIZE),
            ("attention.output.dense", SIZE, SIZE),
            ("intermediate.dense", INNER, SIZE),
            ("output.dense", SIZE, INNER),
        ):
            shapes |= {f"{at}{name}.weight": (out, into), f"{at}{name}.bias": (out,)}
    for at in norms:
        shapes |= {f"{at}LayerNorm.weight": (SIZE,), f"{at}LayerNorm.bias": (SIZE,)}
    return {name: rng.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()}
