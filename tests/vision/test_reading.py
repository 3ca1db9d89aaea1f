"""Frames and words in one observation: both become features, each by its own frozen network."""

from __future__ import annotations

import numpy as np
import pytest

from silri.core.errors import ConfigError
from silri.core.specs import ActionSpec, ArraySpec, EnvSpec
from silri.language.config import LanguageConfig
from silri.vision.config import VisionConfig
from silri.vision.files import decode_sight, encode_sight
from silri.vision.sight import Sight
from tests.fakes.envs import cameras
from tests.fakes.models import words

SPEC = EnvSpec(
    name="fake/both",
    observation={
        "state": ArraySpec((2,)),
        "front": ArraySpec((cameras.SIDE, cameras.SIDE, 3), "uint8"),
        "instruction": ArraySpec((), "<U24"),
    },
    action=ActionSpec(2),
    max_episode_steps=5,
)


def opened(eyes=cameras.ENCODER, model=words.MODEL, keep="features"):
    return Sight(VisionConfig(encoder=eyes, size=4, keep=keep), SPEC, LanguageConfig(model))


def observations(count=3):
    rng = np.random.default_rng(0)
    return {
        "state": rng.standard_normal((count, 2)).astype(np.float32),
        "front": rng.integers(0, 256, (count, 32, 32, 3)).astype(np.uint8),
        "instruction": np.array(["go left", "go right", "go left"][:count], "<U24"),
    }


def test_a_batch_is_what_its_rows_are():
    sight, given = opened(), observations()
    assert not sight.fitted
    rows = [{key: value[i] for key, value in given.items()} for i in range(3)]
    sight.fit_rows(rows)
    seen = sight.batch(given)
    for index, row in enumerate(rows):
        for key, value in sight(row).items():
            np.testing.assert_array_equal(seen[key][index], value)
    shapes = {key: value.shape[1:] for key, value in seen.items()}
    assert shapes == {key: array.shape for key, array in sight.seen.observation.items()}
    assert shapes == {"state": (2,), "front": (4,), "instruction": (1, words.SIZE)}
    np.testing.assert_array_equal(seen["instruction"][0], seen["instruction"][2])
    assert not np.array_equal(seen["instruction"][0], seen["instruction"][1])


def test_words_are_read_where_frames_are_kept():
    sight = opened(keep="frames")
    assert sight.fitted
    seen = sight.batch(observations())
    assert seen["front"].dtype == np.uint8
    assert seen["instruction"].shape == (3, 1, words.SIZE)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"eyes": cameras.OTHER_ENCODER}, "the encoder 'fake' .* here is 'other'.*--vision"),
        ({"model": words.OTHER_MODEL}, "the language model 'fake' .* here is 'other'.*--language"),
        ({"keep": "frames"}, "the encoder 'fake' .* here is none"),
    ],
)
def test_either_network_is_known_again(other, message):
    sight, given = opened(), observations()
    sight.fit_rows([{key: value[i] for key, value in given.items()} for i in range(3)])
    data = encode_sight(sight)
    again = opened()
    decode_sight(again, data, "sight.safetensors")
    np.testing.assert_array_equal(again.batch(given)["front"], sight.batch(given)["front"])
    with pytest.raises(ConfigError, match=message):
        decode_sight(opened(**other), data, "sight.safetensors")
