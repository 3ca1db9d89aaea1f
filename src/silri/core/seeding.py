"""Every random draw of a run derives from (run seed, stream, indices); no generator has a history.

So a run that is resumed, or re-learned from its stored episodes, draws what the uninterrupted
run would have drawn, without any random state in the checkpoint.
"""

from __future__ import annotations

import enum

import numpy as np


class Stream(enum.IntEnum):
    """What a random draw is for. Numbers are part of the run format: never reuse one."""

    NETWORK_INIT = 1
    TRAIN_LAYOUT = 2
    DEMO_LAYOUT = 3
    EVALUATION_LAYOUT = 4
    TRAIN_OPERATOR = 5
    DEMO_OPERATOR = 6
    ACTION_NOISE = 7
    REPLAY = 8
    PRETRAIN_REPLAY = 9
    GUIDANCE_REPLAY = 10
    UPDATE = 11
    DISTURBANCE = 12
    REWARD_SPLIT = 21
    REWARD_NETWORK = 22
    INSTRUCTION = 31


_EVALUATION_BIT = 1 << 30  # layouts of training and of evaluation never share a seed


def rng(run_seed: int, stream: Stream, *indices: int) -> np.random.Generator:
    """A fresh numpy generator for one purpose, e.g. ``rng(seed, Stream.REPLAY, iteration)``."""
    return np.random.Generator(
        np.random.Philox(key=_entropy(run_seed, stream, indices))  # cheap to construct
    )


def derive_seed(run_seed: int, stream: Stream, *indices: int) -> int:
    """A 31-bit seed for a consumer that wants an int (``env.reset``, ``jax.random.key``).

    Evaluation layouts have bit 30 set and do not depend on the run's seed, so that every agent
    and every run is evaluated on the same layouts, none of which training can draw.
    """
    if stream is Stream.EVALUATION_LAYOUT:
        run_seed = 0
    value = int(_entropy(run_seed, stream, indices)) & (_EVALUATION_BIT - 1)
    return value | _EVALUATION_BIT if stream is Stream.EVALUATION_LAYOUT else value


def _entropy(run_seed: int, stream: Stream, indices: tuple[int, ...]) -> int:
    """Mix the words into 64 bits (splitmix64 finaliser over a running state)."""
    state = 0x9E3779B97F4A7C15
    for word in (run_seed, int(stream), *indices):
        state = (state + 0x9E3779B97F4A7C15 + (int(word) & _MASK)) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


_MASK = (1 << 64) - 1
