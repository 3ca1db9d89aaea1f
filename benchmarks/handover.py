"""Does the robot jump when control is handed over? Largest change of the executed action per step.

    python benchmarks/handover.py

A thumb moves a gamepad's sticks (moves of minimum jerk, 0.2 to 0.5 s, with rests between) at 20
decisions per second; the policy moves in the same way, independently. The person takes over twice
in each of ``--episodes`` episodes and lets go again, in the middle of whatever both are doing. The
sticks go through the device's own decoding and the arbiter. *Hand-over* are the steps in which
control is blended, *driving* all others. ``blend`` is the run's ``runtime.blend_steps``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence

import numpy as np

from silri.core.clock import FakeClock
from silri.core.protocols import OperatorView
from silri.core.specs import ActionSpec
from silri.intervention.arbiter import Arbiter
from silri.intervention.devices.events import RawEvent
from silri.intervention.devices.gamepad import Gamepad, GamepadConfig, GamepadDecoder
from silri.intervention.devices.sources import Replay
from silri.intervention.operators import OperatorContext

HZ, STEPS = 20.0, 200
DRIVEN = ((30, 70), (100, 150))  # steps in which the person drives
SPEC = ActionSpec(4, gripper=(3,))


def moves(rng: np.random.Generator) -> np.ndarray:
    """(STEPS, 3) of a hand, or of a policy that has learned from one."""
    path: list[np.ndarray] = []
    place = np.zeros(3)
    while len(path) < STEPS:
        target, steps = np.clip(rng.normal(0.0, 0.7, 3), -1, 1), int(rng.integers(4, 11))
        share = np.arange(1, steps + 1)[:, None] / steps
        smooth = 10 * share**3 - 15 * share**4 + 6 * share**5
        path += list(place + smooth * (target - place))
        path += [target] * int(rng.integers(0, 10))
        place = target
    return np.asarray(path[:STEPS])


def executed(hand: np.ndarray, policy: np.ndarray, blend: int) -> np.ndarray:
    """(STEPS, 3) that the robot is given."""
    decoder, events = GamepadDecoder(), []
    for step, motion in enumerate(hand):
        held = ["rightshoulder"] if any(a <= step < b for a, b in DRIVEN) else []
        said = decoder.encode(dict(zip("xyz", map(float, motion), strict=True)), held)
        events += [RawEvent(step / HZ, kind, data) for kind, data in said]
    context = OperatorContext(SPEC, "gamepad")
    pad = Gamepad(GamepadConfig(), context, Replay(events, FakeClock(), HZ), GamepadDecoder())
    arbiter = Arbiter(SPEC, blend)
    arbiter.begin_episode()
    pad.begin_episode(np.random.default_rng(0))
    rows = []
    for step, action in enumerate(policy):
        proposed = np.asarray([*action, -1.0], np.float32)
        asked = pad.decide(OperatorView({}, proposed, None, step, in_control=False))
        rows.append(arbiter.decide(proposed, asked).executed[:3])
    return np.asarray(rows)


def changes(blend: int, episodes: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
    """Largest change over the dimensions, per step: (of hand-over, of driving)."""
    edges = [edge for span in DRIVEN for edge in span]
    blended = {step for edge in edges for step in range(edge, edge + blend + 1)}
    handed, driven = [], []
    for seed in episodes:
        rng = np.random.default_rng(seed)
        steps = np.abs(np.diff(executed(moves(rng), moves(rng), blend), axis=0)).max(axis=1)
        for step, change in enumerate(steps, start=1):
            (handed if step in blended else driven).append(change)
    return np.asarray(handed), np.asarray(driven)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--episodes", type=int, default=100)
    chosen = parser.parse_args(arguments)
    print("| blend | hand-over, p99 | largest | driving, p99 | largest |")
    print("| --- | --- | --- | --- | --- |")
    for blend in range(7):
        rows = changes(blend, range(chosen.episodes))
        numbers = [f"{np.percentile(row, 99):.2f} | {row.max():.2f}" for row in rows]
        print(f"| {blend} | {' | '.join(numbers)} |")


if __name__ == "__main__":
    main()
