"""How instructions are read: settings that every agent shares."""

from __future__ import annotations

from typing import Annotated

from silri.core.settings import Field, settings


@settings("language")
class LanguageConfig:
    """What becomes of an instruction. Where an observation has no text nothing here matters."""

    # minilm, or module:function of a model that you wrote; its weights are frozen
    model: Annotated[str, Field(min_length=1)] = "minilm"
    # folder with the model's model.safetensors and tokenizer.json; None: what ships with it
    weights: str | None = None
