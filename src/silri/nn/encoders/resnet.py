"""ResNet-10 as SERL trains on it, and torchvision's ResNet-18: weights from a file of yours.

Residual networks of basic blocks (arXiv 1512.03385), up to stride 32 and without pooling: 4 by 4
cells of 512 channels for frames of 128 pixels. The two differ in more than depth:

- ResNet-10 (SERL's ``resnetv1-10-frozen``, trained on ImageNet) normalises by GroupNorm of 4 groups
  and pads as TensorFlow does, the odd pixel at the end. Names are flax's, such as
  ``ResNetBlock_0/Conv_0/kernel``: those of ``resnet10_params.pkl``.
- ResNet-18 has BatchNorm, folded here, and pads alike on both sides. Names are torchvision's, such
  as ``layer1.0.conv1.weight``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from silri.core.errors import ConfigError
from silri.nn.encoders import weights as files
from silri.nn.encoders.backbone import Backbone, Params, pixels
from silri.nn.encoders.layers import Padding, convolution

STRIDE = 32
WIDTHS = (64, 128, 256, 512)  # of the four stages; all but the first halve the map
GROUPS = 4  # of ResNet-10's norms
EPSILON = 1e-5  # of every norm
# Of pixels in [0, 1], as everybody who trains on ImageNet has them.
MEAN, SCALE = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Layers = dict[str, dict[str, np.ndarray]]


def load_resnet10(weights: str | None = None) -> tuple[Backbone, Params]:
    """SERL's ResNet-10.

    Args:
        weights: see :func:`silri.nn.encoders.weights.read`; names are paths in flax's tree.

    Raises:
        ConfigError: ``weights`` is None: none ship with silri.
        DataError: the file is missing, damaged, or of another network.
    """
    name = "resnet10"
    source = _required(name, weights, "resnet10_params.pkl of SERL's releases on GitHub")
    shapes = _flax_shapes()
    arrays = files.pick(files.read(source), shapes, f"encoder '{name}', {source}")
    params: Layers = {}
    for path, array in arrays.items():
        layer, _, part = path.rpartition("/")
        params.setdefault(layer, {})[part] = array
    return _loaded(name, arrays, params, apply_resnet10)


def load_resnet18(weights: str | None = None) -> tuple[Backbone, Params]:
    """torchvision's ResNet-18.

    Args:
        weights: see :func:`silri.nn.encoders.weights.read`; names are torchvision's.

    Raises:
        ConfigError: ``weights`` is None: none ship with silri.
        DataError: the file is missing, damaged, or of another network.
    """
    name = "resnet18"
    source = _required(name, weights, "a state dict of torchvision.models.resnet18")
    arrays = files.pick(files.read(source), _torch_shapes(), f"encoder '{name}', {source}")
    pairs = [key.removesuffix(".weight") for key, array in arrays.items() if array.ndim == 4]
    params = {pair: files.fold(arrays, pair, _norm_of(pair), EPSILON) for pair in pairs}
    return _loaded(name, arrays, params, apply_resnet18)


def apply_resnet10(params: Params, frames: jax.Array) -> jax.Array:
    """Frames (N, H, W, 3) uint8 -> maps (N, H/32, W/32, 512) float32."""
    return steps_resnet10(params, frames)[-1]


def apply_resnet18(params: Params, frames: jax.Array) -> jax.Array:
    """Frames (N, H, W, 3) uint8 -> maps (N, H/32, W/32, 512) float32."""
    return steps_resnet18(params, frames)[-1]


def steps_resnet10(params: Params, frames: jax.Array) -> list[jax.Array]:
    """The maps behind the first convolution, the pooling and every block."""

    def layer(
        x: jax.Array, conv: str, norm: str, stride: int = 1, padding: Padding = "SAME"
    ) -> jax.Array:
        return group_norm(convolution(x, params[conv], stride, padding), params[norm])

    x = jax.nn.relu(layer(_normalised(frames), "conv_init", "norm_init", 2, ((3, 3), (3, 3))))
    found = [x, _max_pool(x, "SAME")]
    for index in range(len(WIDTHS)):
        here, x, stride = f"ResNetBlock_{index}", found[-1], 1 if index == 0 else 2
        y = jax.nn.relu(layer(x, f"{here}/Conv_0", f"{here}/MyGroupNorm_0", stride))
        y = layer(y, f"{here}/Conv_1", f"{here}/MyGroupNorm_1")
        if index > 0:
            x = layer(x, f"{here}/conv_proj", f"{here}/norm_proj", stride)
        found.append(jax.nn.relu(x + y))
    return found


def steps_resnet18(params: Params, frames: jax.Array) -> list[jax.Array]:
    """The maps behind the first convolution, the pooling and every block."""
    around = ((1, 1), (1, 1))
    x = convolution(_normalised(frames), params["conv1"], 2, ((3, 3), (3, 3)))
    found = [jax.nn.relu(x), _max_pool(jax.nn.relu(x), around)]
    for here, stride in _blocks18():
        x = found[-1]
        y = jax.nn.relu(convolution(x, params[f"{here}.conv1"], stride, around))
        y = convolution(y, params[f"{here}.conv2"], 1, around)
        if stride == 2:
            x = convolution(x, params[f"{here}.downsample.0"], stride, "VALID")
        found.append(jax.nn.relu(x + y))
    return found


def group_norm(x: jax.Array, layer: Mapping[str, jax.Array]) -> jax.Array:
    """(N, H, W, C) normalised over the cells and channels of each group, then scaled and moved.

    Args:
        x: maps.
        layer: ``scale`` and ``bias``, (C).
    """
    count, height, width, channels = x.shape
    grouped = x.reshape(count, height, width, GROUPS, channels // GROUPS)
    mean = grouped.mean(axis=(1, 2, 4), keepdims=True)
    variance = jnp.square(grouped - mean).mean(axis=(1, 2, 4), keepdims=True)
    x = ((grouped - mean) * lax.rsqrt(variance + EPSILON)).reshape(x.shape)
    return x * layer["scale"][None, None, None] + layer["bias"][None, None, None]


def _normalised(frames: jax.Array) -> jax.Array:
    mean, scale = (jnp.asarray(value, jnp.float32)[None, None, None] for value in (MEAN, SCALE))
    return (pixels(frames, STRIDE) / 255.0 - mean) / scale


def _max_pool(x: jax.Array, padding: Padding) -> jax.Array:
    around = padding if isinstance(padding, str) else ((0, 0), *padding, (0, 0))
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), around)


def _required(name: str, weights: str | None, example: str) -> str:
    if weights is None:
        raise ConfigError(
            f"encoder '{name}' ships without weights: give a file, such as {example}, or "
            f"{files.HUB_FORM}"
        )
    return weights


def _loaded(
    name: str,
    arrays: Mapping[str, np.ndarray],
    params: Layers,
    apply: Callable[[Params, jax.Array], jax.Array],
) -> tuple[Backbone, Params]:
    backbone = Backbone(name, files.digest_of(name, arrays), STRIDE, WIDTHS[-1], apply)
    return backbone, jax.tree.map(jnp.asarray, params)


def _flax_shapes() -> dict[str, tuple[int, ...]]:
    def norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}/scale": (channels,), f"{name}/bias": (channels,)}

    shapes = {"conv_init/kernel": (7, 7, 3, WIDTHS[0]), **norm("norm_init", WIDTHS[0])}
    inputs = WIDTHS[0]
    for index, width in enumerate(WIDTHS):
        here = f"ResNetBlock_{index}"
        for part, entering in ((0, inputs), (1, width)):
            shapes[f"{here}/Conv_{part}/kernel"] = (3, 3, entering, width)
            shapes |= norm(f"{here}/MyGroupNorm_{part}", width)
        if index > 0:
            shapes[f"{here}/conv_proj/kernel"] = (1, 1, inputs, width)
            shapes |= norm(f"{here}/norm_proj", width)
        inputs = width
    return shapes


def _blocks18() -> list[tuple[str, int]]:
    """(name, stride) of ResNet-18's blocks, two a stage."""
    return [
        (f"layer{stage}.{part}", 2 if stage > 1 and part == 0 else 1)
        for stage in range(1, len(WIDTHS) + 1)
        for part in range(2)
    ]


def _norm_of(conv: str) -> str:
    """The BatchNorm behind a convolution, as torchvision calls it."""
    if conv.endswith(".downsample.0"):
        return conv.removesuffix("0") + "1"
    return conv.replace("conv", "bn")


def _torch_shapes() -> dict[str, tuple[int, ...]]:
    shapes = {"conv1.weight": (WIDTHS[0], 3, 7, 7), **files.norm_shapes("bn1", WIDTHS[0])}
    inputs = WIDTHS[0]
    for (here, stride), width in zip(_blocks18(), np.repeat(WIDTHS, 2).tolist(), strict=True):
        kernels = {
            f"{here}.conv1": (width, inputs, 3, 3),
            f"{here}.conv2": (width, width, 3, 3),
        }
        if stride == 2:
            kernels[f"{here}.downsample.0"] = (width, inputs, 1, 1)
        for conv, shape in kernels.items():
            shapes[f"{conv}.weight"] = shape
            shapes |= files.norm_shapes(_norm_of(conv), width)
        inputs = width
    return shapes
