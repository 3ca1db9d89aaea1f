"""Small random models of the SmolVLM family in a folder, by transformers' own classes.

``idefics3`` is what SmolVLM (the first) is to transformers, ``smolvlm`` SmolVLM2.
"""

from __future__ import annotations

import json

SIDE = 64  # of the pictures that the network looks at
WIDTH = 48  # of its language model
CHAT = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}:"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
SPECIAL = (
    *("<|im_start|>", "<end_of_utterance>", "<fake_token_around_image>", "<image>", "<global-img>"),
    *(f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)),
)


def tokenizer():
    """Bytes and special tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    words.train_from_iterator(["go to the goal"], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token=SPECIAL[0],
        eos_token=SPECIAL[1],
        additional_special_tokens=list(SPECIAL[2:]),
    )


def save(folder, kind="smolvlm", seed=0):
    """A model, its tokenizer and its processor, as the hub has them."""
    import torch
    import transformers

    words = tokenizer()
    name = {"smolvlm": "SmolVLM", "idefics3": "Idefics3"}[kind]
    config = getattr(transformers, f"{name}Config")(
        vision_config={
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 2, "image_size": SIDE, "patch_size": 16,
        },
        text_config={
            "model_type": "llama", "hidden_size": WIDTH, "intermediate_size": 96,
            "num_hidden_layers": 2, "num_attention_heads": 3, "num_key_value_heads": 3,
            "vocab_size": len(words), "pad_token_id": 0,
        },
        scale_factor=2, pad_token_id=0, image_token_id=words.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    torch.manual_seed(seed)
    getattr(transformers, f"{name}ForConditionalGeneration")(config).save_pretrained(folder)
    words.save_pretrained(folder)
    pictures = {
        "image_processor_type": f"{name}ImageProcessor", "do_convert_rgb": True,
        "do_resize": True, "size": {"longest_edge": 2 * SIDE}, "resample": 1,
        "max_image_size": {"longest_edge": SIDE}, "do_image_splitting": True,
        "do_rescale": True, "rescale_factor": 1 / 255, "do_pad": True, "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
    }  # fmt: skip
    both = {"processor_class": f"{name}Processor", "image_seq_len": 4}
    (folder / "preprocessor_config.json").write_text(json.dumps(pictures))
    (folder / "processor_config.json").write_text(json.dumps(both))
    (folder / "chat_template.jinja").write_text(CHAT)
