"""Both halves of ``features.sh``: lerobot's side makes small SmolVLAs, silri's side uses them.

The first half knows nothing of silri. The models are lerobot's and transformers' own classes with
small random networks: no hub is asked.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path

import numpy as np

CAMERAS, STATE, ACTION = ("front", "side"), 3, 4
SIDE = 64  # of the pictures that the model looks at
SPECIAL = (
    *("<|im_start|>", "<end_of_utterance>", "<fake_token_around_image>", "<image>", "<global-img>"),
    *("<video>", *(f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5))),
)


# -- lerobot's side --------------------------------------------------------------------------------


def make(work: Path) -> None:
    """``work/vlm``, ``work/policy`` and ``work/other``, which differs by its seed."""
    make_vlm(work / "vlm")
    for name, seed in (("policy", 0), ("other", 1)):
        make_policy(work / name, work / "vlm", seed)


def make_vlm(folder: Path) -> None:
    """Configuration and processor of a SmolVLM; its weights are in the policy's file."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, SmolVLMConfig
    from transformers import SmolVLMImageProcessor, SmolVLMProcessor, SmolVLMVideoProcessor

    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=list(SPECIAL), initial_alphabet=alphabet
    )
    words.train_from_iterator(["go to the goal"], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token=SPECIAL[0], eos_token=SPECIAL[1],
        additional_special_tokens=list(SPECIAL[2:]),
        extra_special_tokens={
            "fake_image_token": "<fake_token_around_image>", "image_token": "<image>",
            "global_image_token": "<global-img>", "end_of_utterance_token": "<end_of_utterance>",
        },
    )  # fmt: skip
    SmolVLMConfig(
        vision_config={
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 2, "image_size": SIDE, "patch_size": 16,
        },
        text_config={
            "model_type": "llama", "hidden_size": 48, "intermediate_size": 96, "head_dim": 16,
            "num_hidden_layers": 2, "num_attention_heads": 3, "num_key_value_heads": 3,
            "vocab_size": len(tokenizer), "pad_token_id": 0,
        },
        scale_factor=2, pad_token_id=0, image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    ).save_pretrained(folder)  # fmt: skip
    edge = {"longest_edge": SIDE}
    SmolVLMProcessor(
        SmolVLMImageProcessor(size=edge, max_image_size=edge, do_image_splitting=False),
        tokenizer, SmolVLMVideoProcessor(), image_seq_len=4,
    ).save_pretrained(folder)  # fmt: skip


def make_policy(folder: Path, vlm: Path, seed: int) -> None:
    """A SmolVLA with random weights and its processors, as ``lerobot-train`` saves one."""
    import torch
    from lerobot.configs.types import FeatureType, PolicyFeature
    from lerobot.policies.factory import make_pre_post_processors
    from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
    from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy

    torch.manual_seed(seed)
    config = SmolVLAConfig(
        vlm_model_name=str(vlm), load_vlm_weights=False, num_vlm_layers=2, num_steps=4,
        chunk_size=5, n_action_steps=5, resize_imgs_with_padding=(SIDE, SIDE), device="cpu",
        input_features={
            "observation.state": PolicyFeature(FeatureType.STATE, (STATE,)),
            **{
                f"observation.images.{name}": PolicyFeature(FeatureType.VISUAL, (3, SIDE, SIDE))
                for name in CAMERAS
            },
        },
        output_features={"action": PolicyFeature(FeatureType.ACTION, (ACTION,))},
    )  # fmt: skip
    policy = SmolVLAPolicy(config)
    policy.save_pretrained(folder)
    stats = {
        "observation.state": {"mean": torch.zeros(STATE), "std": torch.ones(STATE)},
        "action": {"mean": torch.full((ACTION,), 0.1), "std": torch.full((ACTION,), 0.5)},
    }
    for processor in make_pre_post_processors(config, dataset_stats=stats):
        processor.save_pretrained(folder)
    count = sum(parameter.numel() for parameter in policy.parameters())
    print(f"lerobot: a SmolVLA of {count:,} parameters in {folder}")


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]))
    else:
        use(Path(sys.argv[2]), sys.argv[3])
