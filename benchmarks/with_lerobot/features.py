"""Both halves of ``features.sh``: lerobot's side makes small SmolVLAs, silri's side uses them.

The first half knows nothing of silri. The models are lerobot's and transformers' own classes with
small random networks: no hub is asked.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

CAMERAS, STATE, ACTION = ("front", "side"), 4, 4  # as tests/fakes/models/backbones.py has them
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
    from transformers import (
        PreTrainedTokenizerFast,
        SmolVLMConfig,
        SmolVLMImageProcessor,
        SmolVLMProcessor,
        SmolVLMVideoProcessor,
    )

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


# -- silri's side ---------------------------------------------------------------------------------


def use(work: Path, python: str) -> None:
    """Train, stop, resume, evaluate; another model and a dead server."""
    from silri.core.errors import BackboneFault, ConfigError
    from silri.runtime.keeping.export import load_policy
    from silri.runtime.session import Interrupted
    from silri.vla import lerobot_model
    from silri.vla.config import VlaConfig
    from tests.fakes.envs.point import FakeEnvConfig
    from tests.fakes.models.backbones import NAME, AskedPoint
    from tests.fakes.runs import StopAfter, fingerprint, tiny_run, train

    def config(weights: str = "policy") -> Any:
        vla = VlaConfig(
            model="lerobot", weights=str(work / weights), python=python, size=16, prior_action=True
        )
        where = {"env_name": NAME, "env": FakeEnvConfig(kind="fake/one-arm")}
        return replace(tiny_run("conrft", steps=24), **where, vla=vla)

    class Killer(StopAfter):
        """Kills the server after so many steps, and stops nothing."""

        def on_event(self, event: Any) -> None:
            before, _ = self.left, super().on_event(event)
            if before > self.left == 0:
                for server in lerobot_model.servers():
                    os.kill(server.process_id, signal.SIGKILL)

        def __call__(self) -> bool:
            return False

    began = time.monotonic()
    whole = train(config(), work / "whole")
    print(f"silri: {whole.state.env_steps} steps of ConRFT in {time.monotonic() - began:.0f} s")
    measure(config().vla)
    try:
        train(config(), work / "stopped", stop=StopAfter(17))
    except Interrupted:
        lerobot_model.close_servers()  # the resumed run has a server of its own
    resumed = train(config(), work / "stopped")
    assert fingerprint(resumed) == fingerprint(whole)
    print("silri: stopped and resumed with another server, bit for bit the run that was not")

    loaded, _, _ = load_policy(work / "whole" / "policy")
    observation, _ = AskedPoint().reset(seed=3)
    expected = resumed.acting.act_deterministic(observation)
    assert np.array_equal(loaded.act_deterministic(observation), expected)
    print("silri: the exported policy decides alike")

    refused(ConfigError, lambda: train(config("other"), work / "stopped"))
    refused(BackboneFault, lambda: train(config(), work / "killed", stop=Killer(17)))
    assert fingerprint(train(config(), work / "killed")) == fingerprint(whole)
    print("silri: a run whose server was killed goes on with a new one, bit for bit")


def measure(vla: Any) -> None:
    """How long an answer takes, with the action and without."""
    from silri.vla.backbone import Inputs, load_backbone

    for wanted in (True, False):
        backbone = load_backbone(replace(vla, prior_action=wanted))
        frames = {name: np.full((SIDE, SIDE, 3), 80, np.uint8) for name in CAMERAS}
        asked = Inputs(frames, "go to the goal", np.zeros(STATE, np.float32))
        began = time.monotonic()
        answers = [backbone.embed(asked) for _ in range(100)]
        took = (time.monotonic() - began) / len(answers)
        assert all(np.array_equal(answers[0].embedding, each.embedding) for each in answers)
        assert (answers[0].action is not None) == wanted
        print(f"silri: {backbone.name}: {took * 1e3:.1f} ms an answer, action {wanted}")
    print(f"silri: it runs by {backbone.runs_on}")


def refused(kind: type[Exception], call: Callable[[], Any]) -> None:
    """Whether ``call`` is refused; prints by what."""
    try:
        call()
    except kind as error:
        print(f"silri: {kind.__name__}: {error}")
    else:
        raise AssertionError(f"no {kind.__name__}")


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]))
    else:
        use(Path(sys.argv[2]), sys.argv[3])
