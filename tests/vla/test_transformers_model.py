"""Real classes of transformers with small random weights; there is no hub here."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from silri.core.errors import BackboneFault, ConfigError, DataError
from silri.nn.encoders import weights
from silri.vla import files, transformers_model
from silri.vla.backbone import Inputs, load_backbone
from silri.vla.config import VlaConfig
from tests.fakes.models import smolvlm

torch = pytest.importorskip("torch", reason="silri[vla] is not installed")
transformers = pytest.importorskip("transformers", reason="silri[vla] is not installed")

PICTURE = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)
OTHER = np.flip(PICTURE, 0).copy()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}
    for kind in ("smolvlm", "idefics3"):
        made[kind] = tmp_path_factory.mktemp(kind)
        smolvlm.save(made[kind], kind)
    return made


@pytest.fixture
def folder(folders, tmp_path):
    """A SmolVLM2 that a test may damage."""
    return shutil.copytree(folders["smolvlm"], tmp_path / "model")


def config(folder, **fields):
    return VlaConfig(model="transformers", weights=str(folder), **fields)


def asked(words="go to the goal", **frames):
    return Inputs(frames or {"front": PICTURE, "side": OTHER}, words, None)


@pytest.mark.parametrize("kind", ["smolvlm", "idefics3"])
def test_it_looks_and_reads(folders, kind):
    backbone = load_backbone(config(folders[kind]))
    assert (backbone.size, backbone.cameras, backbone.state_size) == (2 * smolvlm.WIDTH, None, None)
    assert backbone.name == f"transformers {folders[kind]} ({kind})"
    first = backbone.embed(asked()).embedding
    assert first.shape == (2 * smolvlm.WIDTH,)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(backbone.embed(asked()).embedding, first)
    others = [
        asked("stay where you are"),
        asked(front=OTHER, side=PICTURE),
        asked(front=PICTURE),
    ]
    for other in others:
        assert not np.allclose(backbone.embed(other).embedding, first, atol=1e-4)


def test_its_numbers_are_those_of_the_model_itself(folders):
    """By hand: chat, tokens, pictures, the last hidden layer's mean and last row."""
    folder = folders["idefics3"]
    processor = transformers.AutoProcessor.from_pretrained(folder)
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder).eval()
    text = "<|im_start|>User:<image><image>go to the goal<end_of_utterance>\nAssistant:"
    tokens = processor(text=[text], images=[[PICTURE, OTHER]], return_tensors="pt")
    assert (tokens["input_ids"] == model.config.image_token_id).sum() > 2 * 4  # in tiles
    tokens = processor(
        text=[text], images=[[PICTURE, OTHER]], return_tensors="pt", do_image_splitting=False
    )
    assert (tokens["input_ids"] == model.config.image_token_id).sum() == 2 * 4
    with torch.inference_mode():
        hidden = model(**tokens, output_hidden_states=True).hidden_states[-1][0]
    expected = np.concatenate([hidden.mean(0), hidden[-1]])
    found = load_backbone(config(folder)).embed(asked()).embedding
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_processor_without_torchvision_asks_as_smolvlm_does(folders):
    from transformers.models.smolvlm.processing_smolvlm import get_image_prompt_string

    ours = transformers_model._processor(transformers, folders["smolvlm"], "smolvlm")
    for rows, columns in ((0, 0), (1, 2), (3, 4)):
        theirs = get_image_prompt_string(
            rows, columns, 4, "<fake_token_around_image>", "<image>", "<global-img>"
        )
        shapes = {"rows": [[rows]], "cols": [[columns]]}
        assert ours.replace_image_token(shapes, 0) == theirs


def test_the_digest_is_of_files_and_of_the_type(folders, folder):
    first = load_backbone(config(folders["smolvlm"])).digest
    assert load_backbone(config(folder)).digest == first  # wherever the folder lies
    assert load_backbone(config(folder, dtype="bfloat16")).digest != first
    shutil.rmtree(folder)
    folder.mkdir()
    smolvlm.save(folder, seed=1)
    transformers_model._loaded.cache_clear()
    assert load_backbone(config(folder)).digest != first


def test_half_the_bits_are_nearly_the_same_numbers(folders):
    whole, half = (
        load_backbone(config(folders["smolvlm"], dtype=dtype)).embed(asked()).embedding
        for dtype in ("float32", "bfloat16")
    )
    assert 0 < np.linalg.norm(whole - half) < 0.1 * np.linalg.norm(whole)


def test_no_pickle_and_no_code_is_run(folder):
    told = json.loads((folder / "config.json").read_text())
    code = {**told, "model_type": "mine", "auto_map": {"AutoModel": "code.Mine"}}
    (folder / "config.json").write_text(json.dumps(code))
    (folder / "code.py").write_text("raise SystemExit")
    with pytest.raises(ConfigError, match="type 'mine' brings code of its own.*such as SmolVLM"):
        load_backbone(config(folder))
    (folder / "config.json").write_text(json.dumps({**told, "model_type": "mine"}))
    with pytest.raises(ConfigError, match="type 'mine' is unknown to transformers"):
        load_backbone(config(folder))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ConfigError, match=r"it has only pytorch_model\.bin, and opening a pickle"):
        load_backbone(config(folder))


def test_what_is_missing_or_damaged_is_named(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"vla\.model transformers needs vla\.weights: a folder"):
        load_backbone(VlaConfig(model="transformers"))
    with pytest.raises(DataError, match="gone': there is no such folder"):
        load_backbone(config(tmp_path / "gone"))
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:20])
    with pytest.raises(DataError, match=r"model\.safetensors is damaged"):
        load_backbone(config(folder))
    from safetensors.numpy import load, save

    some = load(whole)
    gone = next(name for name in sorted(some) if "layers.1" in name)
    weights.write_bytes(save({k: v for k, v in some.items() if k != gone}, {"format": "pt"}))
    with pytest.raises(DataError, match="1 arrays are missing in its files"):
        load_backbone(config(folder))
    (folder / "config.json").unlink()
    with pytest.raises(DataError, match=r"config\.json is missing: the folder holds no model"):
        load_backbone(config(folder))


def test_too_little_memory_is_known_before_anything_is_loaded(folder, monkeypatch):
    count = files.parameters_of(folder)
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder)
    assert count == sum(parameter.numel() for parameter in model.parameters())
    monkeypatch.setattr(files, "free_memory", lambda: 10**8)
    with pytest.raises(ConfigError) as error:
        load_backbone(config(folder))
    assert "million parameters and needs about 0.5 GB; 0.1 GB are free" in str(error.value)
    assert "take a smaller model, or --vla.dtype bfloat16" in str(error.value)


def test_the_free_memory_of_this_machine_is_known():
    assert 10**8 < files.free_memory() < 10**14


def test_it_gives_no_action(folder):
    with pytest.raises(ConfigError, match=r"vla\.prior_action: .* transformers gives no action"):
        load_backbone(config(folder, prior_action=True))


def test_a_device_that_is_not_there_is_named(folder):
    with pytest.raises(ConfigError, match=r"vla\.device 'abacus'"):
        load_backbone(config(folder, device="abacus"))


def test_an_observation_that_it_cannot_take_stops(folders):
    backbone = load_backbone(config(folders["smolvlm"]))
    with pytest.raises(BackboneFault, match=r"cannot look at an observation: ValueError.*<image>"):
        backbone.embed(asked("go to the <image>"))


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("hf:owner/name", "the revision as the 40 digits of its commit"),
        ("hf:owner/name@main", "the revision as the 40 digits of its commit"),
        (f"hf:owner/name@{'a' * 40}", "pip install huggingface_hub"),
    ],
)
def test_a_model_of_the_hub_is_pinned(monkeypatch, place, message):
    monkeypatch.setattr(weights, "HUB_PACKAGE", "no_such_package")
    with pytest.raises(ConfigError, match=message):
        load_backbone(config(place))


def test_the_hub_is_asked_for_that_commit_and_no_code(monkeypatch, folders):
    asked = []

    class Hub:
        @staticmethod
        def snapshot_download(repository, *, revision, allow_patterns):
            asked.append((repository, revision, allow_patterns))
            return str(folders["smolvlm"])

    monkeypatch.setattr(weights, "HUB_PACKAGE", "json")  # there is one
    monkeypatch.setattr(weights, "import_module", lambda name, what: Hub)
    assert files.folder_of(f"hf:owner/name@{'b' * 40}", "transformers") == folders["smolvlm"]
    patterns = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]
    assert asked == [("owner/name", "b" * 40, patterns)]


def test_without_the_extra_it_is_named(monkeypatch, folder):
    monkeypatch.setattr(transformers_model.importlib.util, "find_spec", lambda name: None)
    transformers_model._loaded.cache_clear()
    with pytest.raises(Exception, match=r"pip install 'silri\[vla\]'") as error:
        load_backbone(replace(config(folder), device="cpu"))
    assert error.value.__class__.__name__ == "MissingExtraError"
