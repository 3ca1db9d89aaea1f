"""An encoder is one file of anybody's: the guide's example works as it stands."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from silri.core.errors import ConfigError
from silri.nn.encoders.backbone import BACKBONES, load_backbone
from tests.source import ROOT


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A working directory with the guide's file and weights for it."""
    guide = (ROOT / "docs" / "guides" / "encoders.md").read_text()
    found = re.search(r'^```python title="my_eyes.py"\n(.*?)^```', guide, re.M | re.S)
    assert found
    (tmp_path / "my_eyes.py").write_text(found[1])
    kernel = np.zeros((8, 8, 3, 32), np.float32)
    kernel[0, 0, 1, 5] = 2.0  # twice the green of a cell's first pixel
    bias = np.full(32, 0.5, np.float32)
    arrays = {"first/kernel": kernel, "first/bias": bias}
    safetensors.numpy.save_file(arrays, tmp_path / "my_eyes.safetensors")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("my_eyes", None)


def test_the_guides_encoder_is_chosen_by_its_function(here):
    backbone, params = load_backbone("my_eyes:load", "my_eyes.safetensors")
    frames = np.zeros((1, 16, 8, 3), np.uint8)
    frames[0, 8, 0] = [10, 51, 20]
    maps = jax.jit(backbone.apply)(params, jnp.asarray(frames))
    assert maps.shape == (1, 2, 1, backbone.channels)
    np.testing.assert_allclose(maps[0, :, 0, 5], [0.5, 0.5 + 2 * 51 / 255])
    assert load_backbone("my_eyes:load", "my_eyes.safetensors")[0] == backbone


def test_a_function_that_gives_something_else_is_named(here):
    (here / "my_eyes.py").write_text("def load(weights=None):\n    return weights\n")
    with pytest.raises(ConfigError, match="'my_eyes:load' takes a function that gives a Backbone"):
        load_backbone("my_eyes:load", "w")


def test_the_guide_lists_what_there_is():
    guide = (ROOT / "docs" / "guides" / "encoders.md").read_text()
    for name in BACKBONES.names():
        assert f"| `{name}` |" in guide
