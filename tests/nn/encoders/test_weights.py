"""Weights are found, pinned and checked; what does not fit is named."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import safetensors.numpy

from silri.core.errors import ConfigError, DataError, UnknownNameError
from silri.nn.encoders import weights
from silri.nn.encoders.backbone import load_backbone

ARRAYS = {"conv.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "bias": np.ones(2)}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "some.safetensors"
    safetensors.numpy.save_file(ARRAYS, path)
    return path


def test_a_file_by_its_hash(file):
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    found = weights.read(f"{file}#sha256={digest}")
    assert set(found) == set(ARRAYS)
    np.testing.assert_array_equal(found["conv.weight"], ARRAYS["conv.weight"])
    wrong = "0" * 64
    with pytest.raises(DataError) as error:
        weights.read(f"{file}#sha256={wrong}")
    assert str(error.value) == f"{file}: its SHA-256 is {digest}, and {wrong} was asked for"


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("w.safetensors#sha256=abc", "after '#' comes sha256= and the 64"),
        ("w.safetensors#md5=" + "0" * 64, "after '#' comes sha256= and the 64"),
        ("hf:owner/name/model.safetensors", "takes hf:OWNER/NAME@REVISION/FILE"),
        ("hf:owner/name@main/model.safetensors", "the revision as the 40 digits of its commit"),
        (f"hf:owner/name@{'a' * 40}/m.safetensors", "pip install huggingface_hub"),
    ],
)
def test_what_is_not_pinned_or_not_there_is_refused(monkeypatch, place, message):
    monkeypatch.setattr(weights, "HUB_PACKAGE", "no_such_package")
    with pytest.raises(ConfigError) as error:
        weights.read(place)
    assert message in str(error.value)


def test_the_hub_is_asked_for_exactly_that_commit(monkeypatch, file):
    asked = []

    class Hub:
        @staticmethod
        def hf_hub_download(repository, name, *, revision):
            asked.append((repository, name, revision))
            return str(file)

    monkeypatch.setattr(weights, "HUB_PACKAGE", "json")  # there is one
    monkeypatch.setattr(weights, "import_module", lambda name, what: Hub)
    assert set(weights.read(f"hf:owner/name@{'b' * 40}/sub/m.safetensors")) == set(ARRAYS)
    assert asked == [("owner/name", "sub/m.safetensors", "b" * 40)]


def test_a_missing_a_damaged_and_an_unknown_file_are_named(tmp_path, file):
    with pytest.raises(DataError, match=r"gone.safetensors': there is no such file"):
        weights.read(str(tmp_path / "gone.safetensors"))
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(DataError, match=r"some.safetensors: cut off, damaged"):
        weights.read(str(file))
    other = tmp_path / "weights.h5"
    other.touch()
    with pytest.raises(ConfigError, match=r"weights.h5': takes a .safetensors, .pth, .pt or .pkl"):
        weights.read(str(other))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"bias": (2,), "scale": (2,)}, "1 of 2 arrays are missing, the first is 'scale'"),
        ({"conv.weight": (3, 2)}, "'conv.weight' takes (3, 2), the file has (2, 3)"),
    ],
)
def test_what_does_not_fit_is_named_with_both_shapes(wanted, message):
    with pytest.raises(DataError) as error:
        weights.pick(ARRAYS, wanted, "encoder 'e', w.safetensors")
    assert message in str(error.value)
    assert str(error.value).startswith("encoder 'e', w.safetensors: ")


def test_weights_that_are_not_finite_are_refused():
    with pytest.raises(DataError, match=r"'a' is not finite"):
        weights.pick({"a": np.array([1.0, np.nan])}, {"a": (2,)}, "encoder 'e'")


def test_the_digest_tells_names_values_and_shapes_apart():
    digest = weights.digest_of("e", ARRAYS)
    assert digest == weights.digest_of("e", dict(reversed(ARRAYS.items())))
    changed = {**ARRAYS, "bias": np.array([1.0, 1.5])}
    reshaped = {**ARRAYS, "conv.weight": ARRAYS["conv.weight"].reshape(3, 2)}
    others = [weights.digest_of("e", changed), weights.digest_of("e", reshaped)]
    assert len({digest, weights.digest_of("f", ARRAYS), *others}) == 4


def test_an_unknown_encoder_lists_the_known_ones():
    with pytest.raises(UnknownNameError) as error:
        load_backbone("efficientnet-lite")
    assert "Did you mean 'efficientnet-lite0'?" in str(error.value)
    assert "resnet18" in str(error.value)
