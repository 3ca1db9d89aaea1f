"""Does the calibration of the offline stage matter: CQL and Cal-QL, offline and then online.

    python benchmarks/calql.py --figure calql.png [--seeds 5]
    python benchmarks/calql.py --figure calql.png --seeds 1 --offline 20 --online 20    a glance

A point in the plane is to reach the origin. Twenty unsteady demonstrations are learned from offline
by ConRFT with and without the floor of Monte-Carlo returns; then the same agent goes on with what
it tries itself, with nobody's help and without cloning: the critic alone says where to go. CQL's
critic has been pushed far below what the demonstrations really earned, so whatever it tries first
looks better than what it knew.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from silri.agents.augment import Augment
from silri.agents.conrft import DEFAULT, ConRFTAgent
from silri.agents.stages import ONLINE, Stage
from silri.core.specs import ActionSpec, ArraySpec, EnvSpec
from silri.data.episode import Episode
from silri.data.mixer import Mixer
from silri.data.replay import Replay
from silri.nn.mlp import Trunk

SPEC = EnvSpec("plane", {"state": ArraySpec((2,))}, ActionSpec(2), 40)
STEP, NEAR, LAYOUTS = 0.1, 0.1, 64  # length of a step, radius of the goal, starts of an evaluation
STILL = Augment(shift=0.0)


def episode(number: int, start: np.ndarray, act: object, demo: bool) -> Episode:
    """One attempt from ``start`` (2,) with actions ``act(state) -> (2,)``."""
    states, actions, rewards = [start.astype(np.float32)], [], []
    reached = False
    while len(actions) < SPEC.max_episode_steps and not reached:
        action = np.clip(np.asarray(act(states[-1]), np.float32), -1.0, 1.0)
        states.append((states[-1] + STEP * action).astype(np.float32))
        actions.append(action)
        reached = bool(np.linalg.norm(states[-1]) < NEAR)
        rewards.append(10.0 if reached else -0.05)
    steps = len(actions)
    last = np.arange(steps) == steps - 1
    zeros = np.zeros(steps, np.float32)
    columns = {
        **dict.fromkeys(("action", "policy_action", "human_action"), np.stack(actions)),
        "human_weight": zeros + demo,
        "reward": np.asarray(rewards, np.float32),
        "terminated": last & reached,
        "truncated": last & (not reached),
        "is_intervention": np.full(steps, demo),
        "grasp_penalty": zeros,
        "policy_version": np.zeros(steps, np.int64),
    }
    seen = {"state": np.stack(states)}
    return Episode(number, seen, columns, {}, reached, demo, number, "reach", "toy")


def starts(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count, 2) on the unit circle."""
    angle = rng.uniform(0, 2 * np.pi, count)
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def success(agent: ConRFTAgent) -> float:
    """Share of :data:`LAYOUTS` starts from which the evaluated action arrives."""
    state = starts(np.random.default_rng(10_000), LAYOUTS).astype(np.float32)
    done = np.zeros(LAYOUTS, bool)
    for _ in range(SPEC.max_episode_steps):
        action = agent.act_deterministic({"state": state})
        state = np.where(done[:, None], state, state + np.float32(STEP) * action)
        done |= np.linalg.norm(state, axis=-1) < NEAR
    return float(done.mean())


def demonstrations(mixer: Mixer, rng: np.random.Generator) -> None:
    """Twenty successes of an unsteady person, into the guidance buffer."""
    for number, start in enumerate(starts(rng, 20)):

        def hand(state: np.ndarray) -> np.ndarray:
            toward = -state / max(float(np.linalg.norm(state)), NEAR)
            return 0.7 * toward + 0.3 * rng.standard_normal(2)

        mixer.add(episode(number, start, hand, demo=True))


def curve(seed: int, calibrated: bool, arguments: argparse.Namespace) -> list[tuple[int, float]]:
    """(online iteration, success); iteration 0 is after the offline stage."""
    config = dataclasses.replace(
        DEFAULT,
        trunk=Trunk(hidden=(64, 64)),
        batch_size=64,
        n_step=1,
        reward_unit=0.0,
        average_rate=0.05,
        decay=0.0,
        regularised=1.0,
        calibrated=calibrated,
        conservative=arguments.alpha,
        online_cloning=0.0,
        stages=(Stage("offline", "mix", arguments.offline), ONLINE),
    )
    agent = ConRFTAgent.create(config, SPEC, seed, STILL)
    replays = [
        Replay(10_000, SPEC, config.columns, config.n_step, config.discount) for _ in range(2)
    ]
    mixer = Mixer(replays[0], replays[1], config.batch_size)
    rng = np.random.default_rng(seed)
    demonstrations(mixer, rng)
    for _ in range(arguments.offline):
        agent, _ = agent.update(mixer.sample(rng, config.utd)[0], "offline")
    agent = agent.with_fresh_optimisers()
    points, done, number = [(0, success(agent))], 0, 100
    while done < arguments.online:

        def tried(
            state: np.ndarray, agent: ConRFTAgent = agent, number: int = number
        ) -> np.ndarray:
            step = int(rng.integers(2**31 - 1))
            return agent.act({"state": state}, episode=number, step=step, explore=True)[0]

        attempt = episode(number, starts(rng, 1)[0], tried, demo=False)
        mixer.add(attempt)
        number += 1
        for _ in range(len(attempt)):
            agent, _ = agent.update(mixer.sample(rng, config.utd)[0], "online")
            done += 1
            if done % arguments.every == 0:
                points.append((done, success(agent)))
    return points


def main() -> None:
    """Both critics, every seed, one figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figure", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--offline", type=int, default=1_000, help="iterations on the dataset")
    parser.add_argument("--online", type=int, default=600, help="iterations, one per step")
    parser.add_argument("--every", type=int, default=20, help="iterations between evaluations")
    parser.add_argument("--alpha", type=float, default=5.0, help="weight of the regulariser")
    arguments = parser.parse_args()
    mpl.use("Agg")
    figure, axis = plt.subplots(figsize=(6.0, 3.2), layout="constrained")
    for name, calibrated, colour in (("CQL", False, "#b4473c"), ("Cal-QL", True, "#2a6f97")):
        curves = [curve(seed, calibrated, arguments) for seed in range(arguments.seeds)]
        shared = min(len(points) for points in curves)
        steps = [step for step, _ in curves[0][:shared]]
        values = np.array([[value for _, value in points[:shared]] for points in curves])
        mean = values.mean(axis=0)
        axis.plot(steps, mean, color=colour, label=name)
        axis.fill_between(steps, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15)
        print(
            f"{name}: after the offline stage {mean[0]:.2f}, worst online {mean.min():.2f}, "
            f"end {mean[-1]:.2f} ({arguments.seeds} seeds)"
        )
    axis.set(xlabel="online steps", ylabel="success", ylim=(-0.02, 1.02))
    axis.legend(frameon=False, loc="lower right")
    figure.savefig(arguments.figure, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
