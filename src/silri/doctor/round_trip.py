"""The whole way: a known motion of the hand must arrive in the stored transition.

The device's own twin says it, the arbiter decides, the environment steps, the episode is stored and
read again. What is expected is written down here anew, not taken from the code that maps it.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from silri.core.clock import FakeClock
from silri.core.protocols import Env
from silri.core.specs import EnvSpec, Observation
from silri.data.episode import Episode, EpisodeBuilder
from silri.doctor.checks import Check, Section
from silri.intervention.arbiter import Arbiter
from silri.intervention.devices.config import DeviceConfig
from silri.intervention.devices.device import Device
from silri.intervention.devices.events import RawEvent
from silri.intervention.devices.mapping import DEFAULT_DIRECTIONS
from silri.intervention.devices.sources import Replay
from silri.intervention.operators import OperatorContext
from silri.runtime.acting.rollout import rollout
from silri.store.store import EpisodeStore

HZ = 20.0
TOLERANCE = 1e-5
# A full deflection, and the directions that are positive by it.
PUSHES: Sequence[tuple[str, float, str, str]] = (
    ("x", 1.0, "forward", "back"),
    ("x", -1.0, "back", "forward"),
    ("y", 1.0, "left", "right"),
    ("y", -1.0, "right", "left"),
    ("z", 1.0, "up", "down"),
    ("z", -1.0, "down", "up"),
    ("roll", 1.0, "roll", "roll-"),
    ("pitch", 1.0, "pitch", "pitch-"),
    ("yaw", 1.0, "yaw", "yaw-"),
)
_trip = Section("round trip")


@dataclass(frozen=True)
class Moment:
    """One decision of the script.

    Attributes:
        motion: of the hand.
        held: buttons.
        expected: (A,) that is to be stored; None: the policy drives.
        what: in words.
    """

    motion: Mapping[str, float]
    held: tuple[str, ...]
    expected: np.ndarray | None
    what: str


class Echo:
    """Accepts every action and shows nothing: in place of a robot, which must not move."""

    def __init__(self, spec: EnvSpec) -> None:
        """An environment with this spec, and without a time-out."""
        self.env_spec = dataclasses.replace(spec, max_episode_steps=1_000)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Zeros."""
        del seed, options
        return self._zeros(), {}

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Zeros."""
        del action
        return self._zeros(), 0.0, False, False, {"success": False, "grasp_penalty": 0.0}

    def close(self) -> None:
        """Nothing to release."""

    def _zeros(self) -> Observation:
        spec = self.env_spec.observation
        return {key: np.zeros(array.shape, array.dtype) for key, array in spec.items()}


class _Still:
    """A policy that is easy to tell from a person."""

    version = 0

    def __init__(self, action: np.ndarray) -> None:
        self.action = action

    def propose(
        self, observation: Observation, episode: int, step: int
    ) -> tuple[np.ndarray, dict[str, float]]:
        del observation, episode, step
        return self.action, {}


def check_round_trip(
    target: type[Device], config: DeviceConfig, context: OperatorContext, env: Env
) -> Iterator[Check]:
    """Drive ``env`` with the twin of ``target`` and compare what is stored.

    Args:
        target: the device's class.
        config: of it; its scale, axes, signs and buttons are what is checked.
        context: that it is created for.
        env: a simulation, or an :class:`Echo`.
    """
    yield from _trip.guarded("driving", lambda: _checks(target, config, context, env))


def _checks(
    target: type[Device], config: DeviceConfig, context: OperatorContext, env: Env
) -> Iterator[Check]:
    config = dataclasses.replace(config, replay=None, record_input=None)
    script = write_script(target, config, context)
    policy = _Still(_policy_action(config, context))
    episode = drive(target, config, context, env, script, policy)
    steps = len(episode)
    done = script[:steps]
    if steps < len(script):
        yield _trip.skipped("length", f"the episode ended after {steps} of {len(script)} steps")
    frames = episode.frames
    driven = np.asarray([moment.expected is not None for moment in done])
    yield _compared(
        "flag", done, frames["is_intervention"] == driven, "intervention is stored as it was"
    )
    for name, column in (("person's action", "human_action"), ("executed action", "action")):
        good = np.asarray(
            [
                moment.expected is None or _near(frames[column][index], moment.expected)
                for index, moment in enumerate(done)
            ]
        )
        yield _compared(name, done, good, "frame, sign, scale and gripper arrive", frames[column])
    policy_steps = [
        moment.expected is not None
        or (
            _near(frames["action"][index], policy.action)
            and np.isnan(frames["human_action"][index]).all()
        )
        for index, moment in enumerate(done)
    ]
    yield _compared("policy's steps", done, np.asarray(policy_steps), "nobody's hand is in them")


def write_script(
    target: type[Device], config: DeviceConfig, context: OperatorContext
) -> list[Moment]:
    """Every motion alone, the gripper early on, and the policy before and after."""
    directions = _directions(config, context)
    drive = [button for button, meaning in config.bindings().items() if meaning == "drive"]
    drive = drive[:1] if config.drive == "hold" else []
    held = (*drive, *(("is_intervention",) if target.kind == "lerobot" else ()))
    pushes = list(_pushes(config, context, directions, held))
    grips = list(_grips(config, context, directions, held))
    rest = Moment({}, (), None, "the policy")
    script = [rest, rest, *pushes[:1], *grips, *pushes[1:]]
    if not held:  # who moves it drives, and keeps control for a while
        still = _action(context, directions, [0.0] * len(directions), closed=False)
        lingering = math.floor(config.linger_s * HZ + 1e-6)
        script += [Moment({}, (), still, "the hand rests")] * lingering
    return [*script, rest, rest]


def _pushes(
    config: DeviceConfig,
    context: OperatorContext,
    directions: Sequence[str],
    held: tuple[str, ...],
) -> Iterator[Moment]:
    for motion, value, plus, minus in PUSHES:
        if not {plus, minus} & set(directions):
            continue
        size = config.scale * (1.0 if motion in "xyz" else config.rotation_scale)
        size *= -1.0 if motion in config.invert else 1.0
        wanted = [
            size * (direction == plus) - size * (direction == minus) for direction in directions
        ]
        expected = _action(context, directions, wanted, closed=False)
        yield Moment({motion: value}, held, expected, f"{motion} {value:+.0f}")


def _grips(
    config: DeviceConfig,
    context: OperatorContext,
    directions: Sequence[str],
    held: tuple[str, ...],
) -> Iterator[Moment]:
    button = [button for button, meaning in config.bindings().items() if meaning == "gripper"]
    if not button or not (context.action_spec.gripper or "gripper" in directions):
        return
    opened, closed = (
        _action(context, directions, [0.0] * len(directions), closed=way) for way in (False, True)
    )
    down = (*held, button[0])
    yield Moment({}, down, closed, "gripper closed")
    if config.gripper == "toggle":
        yield Moment({}, held, closed, "gripper stays closed")
        yield Moment({}, down, opened, "gripper open")
    yield Moment({}, held, opened, "gripper stays open")


def drive(
    target: type[Device],
    config: DeviceConfig,
    context: OperatorContext,
    env: Env,
    script: Sequence[Moment],
    policy: _Still,
) -> Episode:
    """The episode as it was stored and read again."""
    decoder = target.make_decoder(config)
    events = [
        RawEvent(index / HZ, kind, data)
        for index, moment in enumerate(script)
        for kind, data in decoder.encode(moment.motion, moment.held)
    ]
    device = target(config, context, Replay(events, FakeClock(), HZ), target.make_decoder(config))
    spec = env.env_spec
    builder = EpisodeBuilder(spec, 0, False, 0, spec.name, context.name)
    outcome = rollout(
        env,
        policy,
        device,
        Arbiter(spec.action, 0),
        builder,
        rng=np.random.default_rng(0),
        on_step=lambda transition, diagnostics: None,
        stop=lambda: len(builder) >= len(script),
        clock=FakeClock(),
    )
    with tempfile.TemporaryDirectory(prefix="silri-doctor-") as folder:
        place = Path(folder)
        with EpisodeStore(place / "episodes", place / "quarantine", spec) as store:
            store.commit(builder.build(success=outcome.success))
            return store.read(0)


def _policy_action(config: DeviceConfig, context: OperatorContext) -> np.ndarray:
    """(A,) small, and its grippers open."""
    directions = _directions(config, context)
    return _action(context, directions, [0.01] * len(directions), closed=False)


def _directions(config: DeviceConfig, context: OperatorContext) -> Sequence[str]:
    robot = DEFAULT_DIRECTIONS[: len(context.action_spec.continuous)]
    return config.axes or context.directions or robot


def _action(
    context: OperatorContext,
    directions: Sequence[str],
    values: Sequence[float],
    *,
    closed: bool,
) -> np.ndarray:
    spec = context.action_spec
    action = np.zeros(spec.size, np.float32)
    for dim, direction, value in zip(spec.continuous, directions, values, strict=False):
        action[dim] = (1.0 if closed else -1.0) if direction == "gripper" else value
    action[list(spec.gripper)] = spec.gripper_values[-1 if closed else 0]
    return action


def _near(stored: np.ndarray, expected: np.ndarray) -> bool:
    return bool(np.allclose(stored, expected, atol=TOLERANCE))


def _compared(
    name: str,
    script: Sequence[Moment],
    good: np.ndarray,
    well: str,
    stored: np.ndarray | None = None,
) -> Check:
    wrong = np.flatnonzero(~np.asarray(good, bool))
    if not len(wrong):
        return _trip.ok(name, f"{well}: {len(script)} of {len(script)} steps")
    moment = script[wrong[0]]
    said = f"{len(wrong)} of {len(script)} steps are wrong, first '{moment.what}'"
    if stored is not None and moment.expected is not None:
        said += f": {np.round(stored[wrong[0]], 3).tolist()} instead of "
        said += f"{np.round(moment.expected, 3).tolist()}"
    return _trip.failed(name, said, "what is learned from would be wrong: please report this")
