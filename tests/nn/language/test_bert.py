"""BERT's encoder gives what PyTorch's layers give, with random weights."""

from __future__ import annotations

import numpy as np
import pytest

from silri.core.errors import DataError
from silri.nn.language import bert
from tests.fakes.models.bert import SIZE, random_arrays


def padded(sentences, width):
    tokens, mask = np.zeros((2, len(sentences), width)).astype(np.int32)
    for row, sentence in enumerate(sentences):
        tokens[row, : len(sentence)], mask[row, : len(sentence)] = sentence, 1
    return tokens, mask.astype(np.float32)


def reference(arrays, sentence, layers=2):
    """PyTorch's own attention, GELU and LayerNorm."""
    torch = pytest.importorskip("torch", reason="the extra 'bench', PyTorch, is not installed")
    functional = torch.nn.functional
    w = {name: torch.tensor(array) for name, array in arrays.items()}

    def norm(x, at):
        return functional.layer_norm(
            x, (SIZE,), w[f"{at}LayerNorm.weight"], w[f"{at}LayerNorm.bias"], bert.EPSILON
        )

    def dense(x, name):
        return functional.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    x = w["embeddings.word_embeddings.weight"][torch.tensor(sentence)]
    x = x + w["embeddings.position_embeddings.weight"][: len(sentence)]
    x = norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.")[None]
    for layer in range(layers):
        at = f"encoder.layer.{layer}."
        query, key, value = (
            dense(x, f"{at}attention.self.{name}").view(1, len(sentence), -1, 32).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        mixed = mixed.transpose(1, 2).reshape(1, len(sentence), SIZE)
        x = norm(x + dense(mixed, f"{at}attention.output.dense"), f"{at}attention.output.")
        y = functional.gelu(dense(x, f"{at}intermediate.dense"))
        x = norm(x + dense(y, f"{at}output.dense"), f"{at}output.")
    return functional.normalize(x.mean(1))[0].numpy()


def test_it_is_pytorchs_whatever_is_padded():
    arrays = random_arrays()
    params = bert.arrays_of(arrays, "test")
    assert "pooler.dense.weight" not in params
    sentences = [[3, 7, 1], [2], [5, 9, 29, 4, 8, 11, 6]]
    for width in (7, 12):
        found = np.asarray(bert.encode(params, *padded(sentences, width)))
        assert found.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-6)
        for row, sentence in zip(found, sentences, strict=True):
            np.testing.assert_allclose(row, reference(arrays, sentence), atol=1e-5)


def test_a_token_in_another_place_is_another_sentence():
    params = bert.arrays_of(random_arrays(), "test")
    one, other = np.asarray(bert.encode(params, *padded([[3, 7, 1], [7, 3, 1]], 4)))
    assert np.abs(one - other).max() > 1e-3


def test_what_is_no_bert_is_refused_by_name():
    arrays = random_arrays()
    with pytest.raises(DataError, match=r"a\.safetensors: no BERT; the file has other"):
        bert.arrays_of({"other": np.zeros(3, np.float32)}, "a.safetensors")
    lacking = {k: v for k, v in arrays.items() if k != "encoder.layer.1.output.dense.bias"}
    with pytest.raises(DataError, match=r"first is 'encoder\.layer\.1\.output\.dense\.bias'"):
        bert.arrays_of(lacking, "a.safetensors")
    odd = {**arrays, "embeddings.word_embeddings.weight": np.zeros((30, 65), np.float32)}
    with pytest.raises(DataError, match="vectors of 65; heads of 32"):
        bert.arrays_of(odd, "a.safetensors")
