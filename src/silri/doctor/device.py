"""A device: is it there, is it alive, which way does it go; played from a file if there is one."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from silri.core.protocols import OperatorView
from silri.core.specs import EnvSpec
from silri.doctor.checks import Check, Section
from silri.intervention.devices.config import DeviceConfig
from silri.intervention.devices.device import Controls, Decoder, Device
from silri.intervention.devices.events import RawEvent
from silri.intervention.devices.mapping import MOTIONS
from silri.intervention.devices.sources import Source
from silri.intervention.operators import OperatorContext

PLAY_HZ = 50.0  # looks per second at a device, or of a file's time
REST_S = 0.5  # nobody touches it at first
CLEAR = 0.5  # a deflection that somebody meant
DECIDE_S = 1e-3
_device = Section("device")

TOLD = (
    "Leave it alone for half a second. Then push it forward, left and up, turn it every way, and "
    "press its buttons."
)


@dataclass
class Seen:
    """What a device has said.

    Attributes:
        times: of decisions, seconds.
        deflections: (N, 6) before the dead zone, in the order of MOTIONS.
        took: seconds of processor time of every decision.
        pressed: meaning of a button, or its name, to how often.
        events: how many, in how many seconds.
        notices: of the device.
        paused: decisions in which the robot would have stood still.
        places: names that an absolute device has moved.
    """

    times: list[float] = field(default_factory=list)
    deflections: list[list[float]] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    pressed: Counter[str] = field(default_factory=Counter)
    events: int = 0
    notices: list[str] = field(default_factory=list)
    paused: int = 0
    places: dict[str, list[float]] = field(default_factory=dict)


def check_device(
    target: type[Device],
    config: DeviceConfig,
    context: OperatorContext,
    spec: EnvSpec,
    *,
    seconds: float,
    say: Callable[[str], None],
) -> Iterator[Check]:
    """Open it, look for ``seconds``, and judge.

    Args:
        target: the device's class.
        config: of it; a file that it names is played at once.
        context: that it is created for.
        spec: of the environment.
        seconds: to look for.
        say: tells the person what to do.
    """
    if config.replay is not None:
        config = dataclasses.replace(config, replay_hz=PLAY_HZ)
    yield from _device.guarded("open", lambda: _checks(target, config, context, spec, seconds, say))


def _checks(
    target: type[Device],
    config: DeviceConfig,
    context: OperatorContext,
    spec: EnvSpec,
    seconds: float,
    say: Callable[[str], None],
) -> Iterator[Check]:
    device = target.create(config, context)
    try:
        yield _device.ok("open", f"plays {config.replay}" if config.replay else device.name)
        if config.replay is None:
            say(f"{TOLD} ({seconds:g} s)")
        seen = watch(device, spec, seconds, played=config.replay is not None)
    finally:
        device.close()
    yield from judge(seen, device)


def watch(device: Device, spec: EnvSpec, seconds: float, *, played: bool) -> Seen:
    """Ask it as a run would, ``PLAY_HZ`` times a second."""
    seen, end = Seen(), time.monotonic() + seconds
    observation = {key: array.blank() for key, array in spec.observation.items()}
    rest = spec.action.snap(np.zeros(spec.action.size, np.float32))
    device.begin_episode(np.random.default_rng(0))
    device.source = _Heard(device.source, seen)
    device.decoder = _Read(device.decoder, seen)
    step = 0
    while not device.source.ended if played else time.monotonic() < end:
        began = time.thread_time()  # its own: a busy machine is not its fault
        asked = device.decide(OperatorView(observation, rest, None, step, in_control=False))
        seen.took.append(time.thread_time() - began)
        seen.times.append(device.source.now())
        seen.notices += asked.notices
        seen.paused += asked.pause
        step += 1
        if not played:
            time.sleep(1.0 / PLAY_HZ)
    return seen


class _Heard:
    """A source whose events are counted."""

    def __init__(self, source: Source, seen: Seen) -> None:
        self._source, self._seen = source, seen

    @property
    def ended(self) -> bool:
        return self._source.ended

    def now(self) -> float:
        return self._source.now()

    def poll(self) -> list[RawEvent]:
        events = self._source.poll()
        self._seen.events += len(events)
        return events

    def send(self, data: Any) -> None:
        self._source.send(data)

    def rewind(self) -> bool:
        return self._source.rewind()

    def close(self) -> None:
        self._source.close()


class _Read:
    """A decoder whose answers are kept."""

    def __init__(self, decoder: Decoder, seen: Seen) -> None:
        self._decoder, self._seen = decoder, seen

    def feed(self, event: RawEvent) -> None:
        self._decoder.feed(event)

    def read(self, now: float) -> Controls:
        controls, seen = self._decoder.read(now), self._seen
        seen.deflections.append([controls.motion.get(name, 0.0) for name in MOTIONS])
        seen.pressed.update(controls.pressed)
        for name, value in (controls.place or {}).items():
            low, high = seen.places.get(name, [value, value])
            seen.places[name] = [min(low, value), max(high, value)]
        return controls

    def release(self) -> None:
        self._decoder.release()

    def encode(self, motion: Mapping[str, float], held: Sequence[str]) -> list[tuple[str, Any]]:
        return self._decoder.encode(motion, held)


def judge(seen: Seen, device: Device) -> Iterator[Check]:
    """What was seen, in checks."""
    moved = np.abs(np.asarray(seen.deflections).reshape(-1, len(MOTIONS)))
    times = np.asarray(seen.times)
    if seen.places:
        yield from _judge_places(seen)
    else:
        yield from _judge_deflections(seen, device, moved, times)
    span = float(times[-1]) if len(times) else 0.0
    rate = seen.events / span if span else 0.0
    yield _device.ok("events", f"{seen.events}, {rate:.0f} per second")
    pressed = ", ".join(f"{name} {count}x" for name, count in seen.pressed.items())
    yield _device.ok("buttons", pressed) if pressed else _device.skipped("buttons", "none pressed")
    p99 = float(np.percentile(seen.took, 99)) if seen.took else 0.0
    yield _device.judged(
        "decision",
        f"{1e3 * p99:.2f} ms of processor time (p99)",
        p99 < DECIDE_S,
        "the control loop waits for it: a decision should take less than 1 ms",
    )
    if seen.paused:
        yield _device.ok("unplugged", f"the robot stood still in {seen.paused} decisions")
    else:
        yield _device.skipped("unplugged", "it was never gone; pull its cable while this looks")


def _judge_deflections(
    seen: Seen, device: Device, moved: np.ndarray, times: np.ndarray
) -> Iterator[Check]:
    largest = dict(zip(MOTIONS, moved.max(axis=0, initial=0.0), strict=True))
    used = device.map.motions
    silent = [name for name in used if largest[name] == 0.0]
    values = ", ".join(f"{name} {largest[name]:.2f}" for name in MOTIONS)
    if len(silent) == len(used):
        yield _device.failed(
            "axes",
            "every axis reads zero",
            "move it while this looks; else see docs/guides/devices.md, When it reads zero",
        )
        return
    yield _device.judged(
        "axes", f"largest deflection: {values}", not silent, f"not moved: {', '.join(silent)}"
    )
    at_rest = float(moved[times <= REST_S].max(initial=0.0))
    zone = device.config.dead_zone
    yield _device.judged(
        "at rest",
        f"{at_rest:.3f}, dead zone {zone:g}",
        at_rest <= zone,
        f"it drifts, or was touched: --operator.dead-zone {min(at_rest + 0.05, 0.95):.2f}",
    )
    clear = np.argwhere(moved >= CLEAR)
    if not len(clear):
        yield _device.skipped("sign", f"no deflection of {CLEAR} or more")
        return
    row, column = clear[0]
    value = seen.deflections[row][column]
    first = f"first motion: {MOTIONS[column]} {value:+.2f}"
    yield _device.judged(
        "sign",
        first,
        MOTIONS[column] == "x" and value > 0,
        "it was to be forward, x +1: --operator.invert turns a sign, --operator.axes swaps",
    )


def _judge_places(seen: Seen) -> Iterator[Check]:
    still = [name for name, (low, high) in seen.places.items() if low == high]
    ranges = ", ".join(f"{name} {high - low:.3g}" for name, (low, high) in seen.places.items())
    yield _device.judged(
        "axes",
        f"moved by: {ranges}",
        not still,
        f"not moved: {', '.join(still)}",
        otherwise="failed" if len(still) == len(seen.places) else "warning",
    )
