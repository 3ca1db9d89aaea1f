"""How frames are seen: settings that every agent shares."""

from __future__ import annotations

from typing import Annotated, Literal

from silri.core.settings import Field, PositiveInt, settings


@settings("vision")
class VisionConfig:
    """What becomes of camera frames. Without cameras nothing here matters."""

    # a name in 'silri list encoders', or module:function; its weights are frozen
    encoder: Annotated[str, Field(min_length=1)] = "efficientnet-lite0"
    # file with the encoder's weights, or hf:owner/name@revision/file; None: what ships with it
    weights: str | None = None
    # what a replay keeps of a frame. features: few frozen numbers; maps: the encoder's whole map,
    # pooled by each network as it learns; frames: bytes for an encoder that learns
    keep: Literal["features", "maps", "frames"] = "features"
    # numbers per camera that are kept of the encoder's map
    size: PositiveInt = 128
