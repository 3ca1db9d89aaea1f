"""Discrete grippers by imitation: the cross-entropy head that SiLRI, BC and HG-DAgger share."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from silri.agents.base import Prepared
from silri.agents.losses import masked_mean
from silri.core.specs import ActionSpec
from silri.core.transition import Batch
from silri.nn.actions import gripper_classes
from silri.nn.heads import GripperHead
from silri.nn.mlp import Trunk
from silri.nn.observer import Observer
from silri.nn.train_state import Info, Loss, Params, TrainState


def create_gripper(
    spec: ActionSpec,
    observer: Observer,
    trunk: Trunk,
    key: jax.Array,
    observation: Prepared,
    *,
    learning_rate: float,
    clip: float | None = None,
) -> TrainState | None:
    """The head for all grippers of ``spec``; None if it has none."""
    if not spec.gripper:
        return None
    head = GripperHead(observer, trunk, len(spec.gripper), len(spec.gripper_values))
    return TrainState.create(head, key, observation, learning_rate=learning_rate, clip=clip)


def gripper_loss(gripper: TrainState, spec: ActionSpec, params: Params, batch: Batch) -> Loss:
    """Cross-entropy on the person's command, over steps where a person was in control.

    Summed over grippers, averaged over selected steps.
    """
    logits = gripper(batch.observation, params=params)
    classes = gripper_classes(spec, batch.human_action)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, classes).sum(axis=-1)
    correct = jnp.mean((jnp.argmax(logits, axis=-1) == classes).astype(jnp.float32), axis=-1)
    mean_loss = masked_mean(loss, batch.is_intervention)
    return mean_loss, {
        "gripper/loss": mean_loss,
        "gripper/accuracy": masked_mean(correct, batch.is_intervention),
    }


def update_gripper(
    gripper: TrainState | None, spec: ActionSpec, batch: Batch
) -> tuple[TrainState | None, Info]:
    """One step; nothing moves if nobody intervened in the batch, or there is no gripper."""
    if gripper is None:
        return None, {}
    return gripper.apply_loss_if(
        batch.is_intervention.any(),
        lambda params: gripper_loss(gripper, spec, params, batch),
    )


def gripper_command(
    gripper: TrainState | None, observation: Prepared, params: Params | None = None
) -> jax.Array | None:
    """Observation -> (..., G): the likeliest class of each gripper."""
    return None if gripper is None else jnp.argmax(gripper(observation, params=params), axis=-1)
