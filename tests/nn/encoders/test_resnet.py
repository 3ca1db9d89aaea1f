"""ResNet-10 and ResNet-18 give what PyTorch gives with the same random weights, step by step."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from silri.core.errors import ConfigError, DataError
from silri.nn.encoders import resnet
from silri.nn.encoders.backbone import load_backbone


def random(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Weights at which the maps neither vanish nor grow, every norm different in every channel."""
    generator = np.random.default_rng(0)
    arrays = {}
    for name, shape in shapes.items():
        if len(shape) == 4:  # HWIO of flax, OIHW of PyTorch
            entering = np.prod(shape[:3] if name.endswith("kernel") else shape[1:])
            array = generator.standard_normal(shape, np.float32) * np.float32((2 / entering) ** 0.5)
        elif name.endswith(("scale", ".weight", "running_var")):
            array = generator.uniform(0.5, 1.5, shape)
        else:
            array = generator.normal(0.0, 0.2, shape)
        arrays[name] = np.asarray(array, np.float32)
    return arrays


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (2, 32, 64, 3), dtype=np.uint8)


SHAPES = {"resnet10": resnet._flax_shapes(), "resnet18": resnet._torch_shapes()}
STEPS = {"resnet10": resnet.steps_resnet10, "resnet18": resnet.steps_resnet18}


@pytest.fixture(scope="module", params=list(SHAPES))
def example(request, tmp_path_factory):
    """(name, its file, its random arrays)."""
    arrays = random(SHAPES[request.param])
    path = tmp_path_factory.mktemp("weights") / f"{request.param}.safetensors"
    safetensors.numpy.save_file(arrays, path)
    return request.param, path, arrays


def normalised(torch, frames):
    x = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
    mean, scale = (torch.tensor(v)[:, None, None] for v in (resnet.MEAN, resnet.SCALE))
    return (x - mean) / scale


def same(functional, x, kernel: int, stride: int, value: float = 0.0):
    """TensorFlow's "same": the odd pixel at the end."""
    pads = []
    for side in (x.shape[3], x.shape[2]):
        zeros = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        pads += [zeros // 2, zeros - zeros // 2]
    return functional.pad(x, pads, value=value)


def reference10(torch, arrays, frames):
    functional = torch.nn.functional
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}

    def layer(x, conv, norm, stride=1, padding=None):
        kernel = state[f"{conv}/kernel"].permute(3, 2, 0, 1)
        if padding is None:
            x = same(functional, x, kernel.shape[2], stride)
        x = functional.conv2d(x, kernel, stride=stride, padding=padding or 0)
        return functional.group_norm(x, 4, state[f"{norm}/scale"], state[f"{norm}/bias"], 1e-5)

    x = layer(normalised(torch, frames), "conv_init", "norm_init", 2, 3).relu()
    steps = [x]
    x = functional.max_pool2d(same(functional, x, 3, 2, -torch.inf), 3, 2)
    steps.append(x)
    for index in range(4):
        here, stride = f"ResNetBlock_{index}", 1 if index == 0 else 2
        y = layer(x, f"{here}/Conv_0", f"{here}/MyGroupNorm_0", stride).relu()
        y = layer(y, f"{here}/Conv_1", f"{here}/MyGroupNorm_1")
        if y.shape != x.shape:
            x = layer(x, f"{here}/conv_proj", f"{here}/norm_proj", stride)
        x = (x + y).relu()
        steps.append(x)
    return steps


def reference18(torch, arrays, frames):
    functional = torch.nn.functional
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}

    def layer(x, conv, norm, stride, padding):
        x = functional.conv2d(x, state[f"{conv}.weight"], stride=stride, padding=padding)
        parts = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(x, *(state[f"{norm}.{part}"] for part in parts), eps=1e-5)

    x = layer(normalised(torch, frames), "conv1", "bn1", 2, 3).relu()
    steps = [x]
    x = functional.max_pool2d(x, 3, 2, 1)
    steps.append(x)
    for stage in (1, 2, 3, 4):
        for part in (0, 1):
            here, stride = f"layer{stage}.{part}", 2 if stage > 1 and part == 0 else 1
            y = layer(x, f"{here}.conv1", f"{here}.bn1", stride, 1).relu()
            y = layer(y, f"{here}.conv2", f"{here}.bn2", 1, 1)
            if f"{here}.downsample.0.weight" in state:
                x = layer(x, f"{here}.downsample.0", f"{here}.downsample.1", stride, 0)
            x = (x + y).relu()
            steps.append(x)
    return steps


def test_every_step_is_that_of_pytorch(example, frames):
    torch = pytest.importorskip("torch", reason="PyTorch is the extra 'bench'")
    name, path, arrays = example
    _, params = load_backbone(name, str(path))
    found = jax.jit(STEPS[name])(params, jnp.asarray(frames))
    reference = {"resnet10": reference10, "resnet18": reference18}[name](torch, arrays, frames)
    assert len(found) == len(reference) == {"resnet10": 6, "resnet18": 10}[name]
    for index, (ours, theirs) in enumerate(zip(found, reference, strict=True)):
        expected = theirs.permute(0, 2, 3, 1).numpy()
        assert expected.std() > 0.1
        np.testing.assert_allclose(
            ours, expected, atol=2e-5 * np.abs(expected).max(), rtol=0, err_msg=f"step {index}"
        )


def test_the_backbone_says_what_its_map_is(example):
    name, path, _ = example
    backbone, params = load_backbone(name, str(path))
    frames = jax.ShapeDtypeStruct((3, 128, 96, 3), jnp.uint8)
    maps = jax.eval_shape(backbone.apply, params, frames)
    assert maps == jax.ShapeDtypeStruct((3, 4, 3, 512), jnp.float32)
    assert (backbone.name, backbone.stride, backbone.channels) == (name, 32, 512)
    assert backbone == load_backbone(name, str(path))[0]


def test_resnet10_has_the_size_of_the_published_one():
    """36 arrays, 4,905,792 numbers: those of ``resnet10_params.pkl`` without its last layer."""
    assert len(SHAPES["resnet10"]) == 36
    assert sum(int(np.prod(shape)) for shape in SHAPES["resnet10"].values()) == 4_905_792


def test_without_weights_it_says_what_to_give(example):
    with pytest.raises(ConfigError, match=r"ships without weights: give a file.*hf:OWNER"):
        load_backbone(example[0])


def test_the_weights_of_one_network_do_not_fit_the_other(example):
    name, path, _ = example
    other = "resnet18" if name == "resnet10" else "resnet10"
    first = {"resnet18": "conv1.weight", "resnet10": "conv_init/kernel"}[other]
    with pytest.raises(DataError, match=f"arrays are missing, the first is '{first}'"):
        load_backbone(other, str(path))
