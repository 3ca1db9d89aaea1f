"""Devices that a test plays by hand: their own decoding, events at decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from silri.core.clock import FakeClock
from silri.core.protocols import OperatorInput, OperatorView
from silri.core.specs import ActionSpec
from silri.intervention.devices.device import Device
from silri.intervention.devices.events import RawEvent
from silri.intervention.devices.sources import Replay
from silri.intervention.operators import OperatorContext
from silri.intervention.registry import OPERATORS

HZ = 20.0
ARM = ActionSpec(4, gripper=(3,))


def play(
    name: str,
    script: Sequence[tuple[float, str, Any]],
    *,
    spec: ActionSpec = ARM,
    directions: tuple[str, ...] = (),
    ends: bool = False,
    **fields: Any,
) -> Any:
    """The device called ``name`` that says what ``script`` says; a decision is 1 / HZ s.

    Unless it ``ends`` with its last event, nothing changes after it.
    """
    device: type[Device] = OPERATORS.load(name).target
    config = device.Config(**fields)
    events = [RawEvent(*row) for row in script]
    events += [] if ends else [RawEvent(1e6, "never", None)]
    source = Replay(events, FakeClock(), HZ)
    context = OperatorContext(spec, name, directions=directions)
    made = device(config, context, source, device.make_decoder(config))
    made.begin_episode(np.random.default_rng(0))
    return made


def at(time: float, said: Sequence[tuple[str, Any]]) -> list[tuple[float, str, Any]]:
    """Encoded events at one time."""
    return [(time, kind, data) for kind, data in said]


def state(
    name: str, time: float, motion: Mapping[str, float], *held: str
) -> list[tuple[float, str, Any]]:
    """The events that put the device called ``name`` into this state."""
    device: type[Device] = OPERATORS.load(name).target
    return at(time, device.make_decoder(device.Config()).encode(motion, held))


def view(
    policy: Sequence[float] | np.ndarray = (0.0, 0.0, 0.0, -1.0),
    *,
    step: int = 0,
    in_control: bool = False,
    observation: Mapping[str, Any] | None = None,
) -> OperatorView:
    """What the operator sees when the policy is about to do ``policy``."""
    seen = {key: np.asarray(value, np.float32) for key, value in (observation or {}).items()}
    return OperatorView(seen, np.asarray(policy, np.float32), None, step, in_control)


def decide(device: Any, steps: int, policy: Sequence[float] | None = None) -> list[OperatorInput]:
    """``steps`` decisions, one step each."""
    if policy is None:
        policy = device.map.spec.snap(np.zeros(device.map.spec.size))
    first = 0 if device.view is None else device.view.step + 1
    return [device.decide(view(policy, step=first + index)) for index in range(steps)]
