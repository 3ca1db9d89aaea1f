"""Any vision-language model of Hugging Face's ``transformers`` as a frozen feature provider.

The embedding is the mean of the last hidden layer over all tokens beside that of the last token,
which has read all the others: (2 H,). The question is the model's own chat with the pictures, in
the order of the cameras' names, and the instruction. A picture is never cut into tiles: a camera's
frame has nothing to show in them, and SmolVLM would look at seventeen in place of one.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from silri.core.errors import BackboneFault, ConfigError, DataError, MissingExtraError
from silri.core.foreign import said, usable
from silri.core.registry import import_module
from silri.vla import files
from silri.vla.backbone import Backbone, Embedded, Inputs
from silri.vla.config import VlaConfig
from silri.vla.serving.feature_server import digest_of

EXTRA = "vla"
_BYTES = {"float32": 4, "bfloat16": 2}


def load(config: VlaConfig) -> Backbone:
    """The model in the folder, or of the hub's revision, that ``vla.weights`` names.

    Raises:
        MissingExtraError: the extra ``vla`` is not installed.
        ConfigError: it has code of its own, no safetensors, no hidden states, or does not fit into
            the memory; or an action is asked for.
        DataError: a file is missing or damaged.
    """
    if config.prior_action:
        raise ConfigError(
            "vla.prior_action: a vision-language model of transformers gives no action; "
            "vla.model lerobot has those that do"
        )
    return _loaded(config.weights, config.device, config.dtype)


@functools.lru_cache(maxsize=1)  # a run looks through several eyes; the model is there once
def _loaded(weights: str | None, device: str, dtype: str) -> Backbone:
    if any(importlib.util.find_spec(name) is None for name in ("torch", "transformers")):
        raise MissingExtraError(EXTRA, "vla.model transformers")
    folder = files.folder_of(weights, "transformers")
    name = f"transformers {weights}"
    torch, transformers = (import_module(each, name) for each in ("torch", "transformers"))
    kind = _kind(transformers, folder, name)
    with usable(f"vla.device '{device}'"):
        place = torch.device(device)
        on_gpu = place.type == "cuda"
        free = torch.cuda.mem_get_info(place)[0] if on_gpu else files.free_memory()
    remedy = "take a smaller model, or --vla.dtype bfloat16"
    files.check_memory(folder, _BYTES[dtype], free, name, remedy)
    with usable(f"{name} cannot be loaded"):
        processor = _processor(transformers, folder, kind)
        if hasattr(processor.image_processor, "do_image_splitting"):
            processor.image_processor.do_image_splitting = False
        model, report = transformers.AutoModel.from_pretrained(
            folder, dtype=getattr(torch, dtype), local_files_only=True, trust_remote_code=False,
            use_safetensors=True, output_loading_info=True,
        )  # fmt: skip
    if missing := sorted(report["missing_keys"]):
        raise DataError(
            f"{name}: {len(missing)} arrays are missing in its files, the first is '{missing[0]}'"
        )
    model.to(place).eval()
    text = model.config.get_text_config()
    if not hasattr(text, "hidden_size"):
        raise ConfigError(f"{name} is a {kind}, which has no hidden states of one size")
    versions = [f"{each} {importlib.metadata.version(each)}" for each in ("transformers", "torch")]
    return Backbone(
        name=f"{name} ({kind})",
        digest=digest_of(folder, "transformers", dtype),
        size=2 * text.hidden_size,
        action_size=None,
        cameras=None,
        state_size=None,
        embed=_embed(torch, model, processor, name),
        runs_on=", ".join([*versions, place.type]),
    )


def _kind(transformers: Any, folder: Path, name: str) -> str:
    """The model's type, one that transformers itself has the code of."""
    told = files.settings_of(folder)
    kind = str(told.get("model_type"))
    if kind not in transformers.CONFIG_MAPPING:
        own = "brings code of its own, which is never run" if "auto_map" in told else "is unknown"
        raise ConfigError(
            f"{name}: the model type '{kind}' {own} to transformers "
            f"{transformers.__version__}: take a model that it has the code of, such as SmolVLM, "
            "or a newer transformers; your own code goes into --vla.model module:function"
        )
    return kind


def _processor(transformers: Any, folder: Path, kind: str) -> Any:
    """What makes tokens and pixels of words and pictures."""
    if kind != "smolvlm" or importlib.util.find_spec("torchvision") is not None:
        return transformers.AutoProcessor.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    # SmolVLM2's own processor wants torchvision, for videos. Idefics3's, from which it is derived,
    # makes the same of pictures and words.
    told, _ = transformers.Idefics3Processor.get_processor_dict(folder, local_files_only=True)
    return transformers.Idefics3Processor(
        transformers.AutoImageProcessor.from_pretrained(
            folder, backend="pil", local_files_only=True, trust_remote_code=False
        ),
        transformers.AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        ),
        image_seq_len=told.get("image_seq_len", 169),
        chat_template=told.get("chat_template"),
    )


def _embed(torch: Any, model: Any, processor: Any, name: str) -> Callable[[Inputs], Embedded]:
    """One observation -> (2 H,) float32."""

    def embed(inputs: Inputs) -> Embedded:
        pictures = [Image.fromarray(frame) for frame in inputs.frames.values()]
        try:
            tokens = processor(
                text=[_asked(processor, len(pictures), inputs.instruction)],
                images=pictures, return_tensors="pt",
            )  # fmt: skip
            with torch.inference_mode():
                out = model(**tokens.to(model.device, dtype=model.dtype))
            hidden = out.last_hidden_state[0].float()
            embedding = torch.cat([hidden.mean(0), hidden[-1]]).cpu().numpy()
        except (AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise BackboneFault(f"{name} cannot look at an observation: {said(error)}") from error
        return Embedded(np.asarray(embedding, np.float32))

    return embed


def _asked(processor: Any, pictures: int, instruction: str) -> str:
    if getattr(processor, "chat_template", None) is None:
        marks: str = processor.image_token * pictures
        return marks + instruction
    content = [{"type": "image"}] * pictures + [{"type": "text", "text": instruction}]
    chat = [{"role": "user", "content": content}]
    text: str = processor.apply_chat_template(chat, add_generation_prompt=True)
    return text
