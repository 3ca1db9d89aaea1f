"""What a run is rewarded for, and how a success classifier is made."""

from __future__ import annotations

from typing import Annotated

from silri.core.settings import (
    Field,
    NonNegative,
    NonNegativeInt,
    PositiveInt,
    settings,
)
from silri.vision.config import VisionConfig


@settings("reward")
class RewardConfig:
    """Who says in training that the task is done."""

    # folder that 'silri reward fit' made; None: the environment says it
    model: Annotated[str, Field(min_length=1)] | None = None
    # steps in a row that must look like a success before it is one
    consecutive: PositiveInt = 2
    # seconds that the robot waits at a success for a person to take it back with FAILURE
    veto_s: NonNegative = 0.0
    # fit the classifier again, in the background, on each frame that a person corrects
    refit: bool = True


@settings("")
class FitConfig:
    """How frames are labelled, and what learns from them."""

    # last frames of a successful episode that show a success
    positives: PositiveInt = 2
    # frames before those that show neither, and are left out
    margin: NonNegativeInt = 3
    # share of the episodes that nothing is fitted on; the report is about them
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.25
    # share of the frames without a success that may be called one: decides the threshold
    false_positive_rate: Annotated[float, Field(gt=0, lt=0.5)] = 0.01
    # parts that the other episodes are cut into: each is judged by a network that never saw it,
    # which is what probabilities are calibrated and the threshold is chosen on
    folds: Annotated[int, Field(ge=2)] = 5
    # units of the hidden layer; 0: logistic regression
    hidden: NonNegativeInt = 64
    # gradient steps, each on all frames
    updates: PositiveInt = 400
    # pull of the weights towards 0
    weight_decay: NonNegative = 0.1
    # numbers per camera that are kept of the encoder's map
    size: PositiveInt = 64
    # a name in 'silri list encoders', or module:function; its weights are frozen
    encoder: Annotated[str, Field(min_length=1)] = "efficientnet-lite0"
    # file with the encoder's weights, or hf:owner/name@revision/file; None: what ships with it
    weights: str | None = None
    # decides the split and the network
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0

    @property
    def vision(self) -> VisionConfig:
        """How frames are seen."""
        return VisionConfig(encoder=self.encoder, weights=self.weights, size=self.size)
