"""Discrete grippers by imitation: the cross-entropy head that SiLRI, BC and HG-DAgger share."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from silri.agents.losses import masked_mean
from silri.core.specs import ActionSpec
from silri.core.transition import Batch
from silri.nn.actions import gripper_classes
from silri.nn.heads import GripperHead
from silri.nn.mlp import Trunk
from silri.nn.train_state import Info, Loss, Params, TrainState


def create_gripper(
    spec: ActionSpec,
    trunk: Trunk,
    key: jax.Array,
    features: jax.Array,
    *,
    learning_rate: float,
    clip: float | None = None,
) -> TrainState | None:
    """The head for all grippers of ``spec``; None if it has none."""
    if not spec.gripper:
        return None
    head = GripperHead(trunk, len(spec.gripper), len(spec.gripper_values))
    return TrainState.create(head, key, features, learning_rate=learning_rate, clip=clip)


def gripper_loss(
    gripper: TrainState, spec: ActionSpec, params: Params, features: jax.Array, batch: Batch
) -> Loss:
    """Cross-entropy on the person's command, over steps where a person was in control.

    Summed over grippers, averaged over selected steps.
    """
    logits = gripper(features, params=params)
    classes = gripper_classes(spec, batch.human_action)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, classes).sum(axis=-1)
    correct = jnp.mean((jnp.argmax(logits, axis=-1) == classes).astype(jnp.float32), axis=-1)
    mean_loss = masked_mean(loss, batch.is_guidance)
    return mean_loss, {
        "gripper/loss": mean_loss,
        "gripper/accuracy": masked_mean(correct, batch.is_guidance),
    }


def update_gripper(
    gripper: TrainState | None, spec: ActionSpec, features: jax.Array, batch: Batch
) -> tuple[TrainState | None, Info]:
    """One step; nothing moves if nobody intervened in the batch, or there is no gripper."""
    if gripper is None:
        return None, {}
    return gripper.apply_loss_if(
        batch.is_guidance.any(),
        lambda params: gripper_loss(gripper, spec, params, features, batch),
    )


def gripper_command(
    gripper: TrainState | None, features: jax.Array, params: Params | None = None
) -> jax.Array | None:
    """(..., F) -> (..., G): the likeliest class of each gripper."""
    return None if gripper is None else jnp.argmax(gripper(features, params=params), axis=-1)
