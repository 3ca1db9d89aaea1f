"""Layers of frozen encoders against JAX's own, which are slower."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from silri.nn.encoders.layers import convolution, depthwise, in_chunks

AXES = ("NHWC", "HWIO", "NHWC")


def random(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(shape).standard_normal(shape), jnp.float32)


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("sides", [(8, 12), (7, 9)])
def test_a_sum_of_shifts_is_a_convolution_with_a_group_per_channel(size, stride, sides):
    x, kernel, bias = random(2, *sides, 6), random(size, size, 6), random(6)

    def both(x, kernel, bias):
        grouped = lax.conv_general_dilated(
            x,
            kernel[:, :, None],
            (stride, stride),
            "SAME",
            dimension_numbers=AXES,
            feature_group_count=6,
        )
        layer = {"kernel": kernel, "bias": bias}
        return depthwise(x, layer, stride), grouped + bias[None, None, None]

    found, expected = jax.jit(both)(x, kernel, bias)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_convolution_of_one_pixel_is_a_matrix_product():
    x, kernel, bias = random(2, 3, 4, 5), random(1, 1, 5, 7), random(7)
    expected = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=AXES)
    np.testing.assert_allclose(convolution(x, {"kernel": kernel}), expected, atol=1e-5)
    moved = convolution(x, {"kernel": kernel, "bias": bias})
    np.testing.assert_allclose(moved, expected + bias[None, None, None], atol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 7])
def test_chunks_give_what_all_at_once_gives_in_the_same_order(count):
    frames = jnp.arange(count * 4, dtype=jnp.uint8).reshape(count, 2, 2, 1)
    sizes = []

    def apply(some):
        sizes.append(len(some))
        return some.astype(jnp.float32)[:, ::2, ::2] * 2.0 + 1.0

    found = jax.jit(lambda x: in_chunks(apply, x, 2))(frames)
    np.testing.assert_array_equal(found, apply(frames))
    assert 2 in sizes[:-1] or count < 2
