from __future__ import annotations

import io
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from silri.core.errors import DataError, SpecError
from silri.core.specs import ActionSpec, ArraySpec, EnvSpec
from silri.store.format.images import (
    check_storable,
    decode_images,
    encode_images,
    is_image,
    png_shape,
)


@given(
    count=st.integers(1, 10),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 100),
)
def test_images_come_back_bit_for_bit(count, height, width, channels, seed):
    shape = (count, height, width, channels)
    frames = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    encoded = encode_images(frames)
    decoded = decode_images(encoded, shape[1:], "observation.images.front")
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, frames)
    with Image.open(io.BytesIO(encoded[0])) as image:
        image.verify()  # every checksum of the file
    assert threading.active_count() == 1  # no pool stays


def test_smooth_images_shrink():
    y, x = np.mgrid[:64, :64]
    frame = np.stack([x, y, (x + y) // 2], -1).astype(np.uint8)
    assert len(encode_images(frame[None])[0]) < frame.size / 20


def test_images_of_others_are_read():
    y, x = np.mgrid[:32, :40]
    smooth = np.stack([2 * x, 3 * y, x + y], -1).astype(np.uint8)
    for kind, mode, tolerance in (("PNG", "RGBA", 0), ("PNG", "RGB", 0), ("JPEG", "RGB", 12)):
        buffer = io.BytesIO()
        Image.fromarray(smooth).convert(mode).save(buffer, kind)
        (decoded,) = decode_images([buffer.getvalue()], smooth.shape, "x")
        assert np.abs(decoded.astype(int) - smooth).max() <= tolerance


def test_what_is_no_image_is_named():
    (png,) = encode_images(np.zeros((1, 4, 5, 3), np.uint8))
    (wrong,) = encode_images(np.zeros((1, 5, 4, 3), np.uint8))
    with pytest.raises(DataError, match=r"'observation.images.front' of frame 1 is an image of"):
        decode_images([png, wrong], (4, 5, 3), "observation.images.front")
    for damaged in (b"", b"nonsense", png[:20], png[:45], png[:30] + b"\xff\xff" + png[32:]):
        with pytest.raises(DataError, match="'x' of frame 0 is no readable image"):
            decode_images([damaged], (4, 5, 3), "x")


def test_which_observations_are_images():
    assert is_image(ArraySpec((4, 5, 3), "uint8"))
    assert is_image(ArraySpec((4, 5, 1), "uint8"))
    assert not is_image(ArraySpec((4, 5, 3)))
    spec = EnvSpec("eye", {"code": ArraySpec((4,), "uint8")}, ActionSpec(2), 10)
    with pytest.raises(SpecError, match=r"'observation.code' of eye is uint8 with shape \(4,\)"):
        check_storable(spec)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_shape_is_in_the_header(channels):
    frames = np.zeros((1, 7, 300, channels), np.uint8)
    png = encode_images(frames)[0]
    assert png_shape(png) == (7, 300, channels)
    assert png_shape(png[:26]) == (7, 300, channels)
    assert png_shape(png[:25]) is None
    assert png_shape(b"\xff\xd8" + png) is None


@pytest.mark.parametrize("mode", ["RGBA", "P", "I;16"])
def test_a_png_of_another_kind_has_no_shape(mode):
    buffer = io.BytesIO()
    Image.new(mode, (4, 3)).save(buffer, "PNG")
    assert png_shape(buffer.getvalue()) is None
