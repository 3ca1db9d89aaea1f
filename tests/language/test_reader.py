"""Instructions become sentences: once each, at their own scale, refused if they say nothing."""

from __future__ import annotations

import numpy as np
import pytest

from silri.core.errors import SpecError
from silri.core.specs import ArraySpec
from silri.language import reader
from silri.language.config import LanguageConfig
from silri.language.model import LanguageModel
from silri.language.reader import Reader
from tests.fakes.models import words

TEXT = {"state": ArraySpec((4,)), "instruction": ArraySpec((), "<U24")}


def test_a_sentence_has_numbers_of_size_one():
    read = Reader(LanguageConfig(words.MODEL), TEXT)
    assert read.read == {"instruction": ArraySpec((1, words.SIZE), "float16")}
    assert read.read["instruction"].is_sentence
    found = read({"state": np.zeros(4), "instruction": np.array("go left", "<U24")})
    assert list(found) == ["instruction"]
    assert (found["instruction"].shape, found["instruction"].dtype) == ((1, words.SIZE), np.float16)
    expected = words.load().embed("go left") * np.sqrt(words.SIZE)
    np.testing.assert_allclose(found["instruction"][0], expected, rtol=1e-3)
    assert read.identity == {"language": "fake", "language_digest": "0" * 16}


def test_every_sentence_is_read_once(monkeypatch):
    asked = []

    def counted(name, weights):
        model = words.load()
        embed = lambda text: (asked.append(text), model.embed(text))[1]  # noqa: E731
        return LanguageModel(model.name, model.digest, model.size, embed)

    monkeypatch.setattr(reader, "load_model", counted)
    monkeypatch.setattr(reader, "REMEMBERED", 2)
    read = Reader(LanguageConfig(), TEXT)
    for text in ("a", "b", "a", "b", "c", "a"):  # "c" is one too many: "a" is forgotten
        read({"instruction": np.array(text)})
    assert asked == ["a", "b", "c", "a"]


def test_without_text_nothing_is_opened():
    read = Reader(LanguageConfig("no_such_module:at_all"), {"state": ArraySpec((4,))})
    assert (read.texts, read.read, read.identity) == ((), {}, {})
    assert read({"state": np.zeros(4)}) == {}


def test_what_cannot_be_read_is_refused_by_name():
    read = Reader(LanguageConfig(words.MODEL), TEXT)
    with pytest.raises(SpecError, match="'observation.instruction' is the empty text ' '"):
        read({"instruction": np.array(" ")})
    wrong = Reader(LanguageConfig("tests.fakes.models.words:load_wrong"), TEXT)
    with pytest.raises(SpecError, match=r"'wrong' says that it gives 6 .* 'go' it made \(7,\)"):
        wrong({"instruction": np.array("go")})
