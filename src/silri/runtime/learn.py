"""Sample, update, publish. Plain functions that know nothing of environments."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from silri.agents.base import Agent, AgentConfig
from silri.core.seeding import Stream, rng
from silri.data.episode import Episode
from silri.data.mixer import Mixer
from silri.data.statistics import largest_return
from silri.nn.train_state import Info

PRETRAIN_CHUNK = 100  # gradient steps per dispatch


def reward_scale(config: AgentConfig, demonstrations: Iterable[Episode]) -> float:
    """What rewards are multiplied by so that critics see the same whatever their size.

    1 if ``config.reward_unit`` is 0, or no demonstration tells what there is to earn.
    """
    if not config.reward_unit:
        return 1.0
    largest = largest_return(demonstrations, config.horizon[1])
    return config.reward_unit / largest if largest else 1.0


def learn(
    agent: Agent, mixer: Mixer, seed: int, iteration: int
) -> tuple[Agent, Info, dict[str, float]]:
    """One learner iteration; everything random in it derives from (seed, iteration).

    Returns:
        The new agent and its metrics, not yet waited for, and the mix of the batch.
    """
    batch, mix = mixer.sample(rng(seed, Stream.REPLAY, iteration), agent.config.utd)
    agent, info = agent.update(batch)
    return agent, info, mix


def learn_guidance(
    agent: Agent, mixer: Mixer, seed: int, before: int, after: int
) -> tuple[Agent, Info]:
    """The burst an agent owes when intervention steps have grown from ``before`` to ``after``."""
    owed = agent.guidance_updates_owed(before, after)
    info: Info = {}
    # Bursts of one length share compiled code.
    unit = agent.guidance_updates_owed(0, 1 << 20) and agent.config.burst
    for index in range(owed // unit if unit else 0):
        generator = rng(seed, Stream.GUIDANCE_REPLAY, before, index)
        batch = mixer.sample_guidance(generator, unit, agent.config.batch_size)
        agent, info = agent.update_guidance(batch)
    return agent, info


def pretrain(
    agent: Agent, mixer: Mixer, seed: int, stop: Any = lambda: False
) -> tuple[Agent, Info]:
    """``agent.config.pretrain_steps`` gradient steps on the guidance buffer.

    Rounded up to whole chunks of :data:`PRETRAIN_CHUNK`, each one dispatch.
    """
    info: Info = {}
    for chunk in range(-(-agent.config.pretrain_steps // PRETRAIN_CHUNK)):
        if stop():
            break
        generator = rng(seed, Stream.PRETRAIN_REPLAY, chunk)
        batch = mixer.sample_guidance(generator, PRETRAIN_CHUNK, agent.config.batch_size)
        agent, info = agent.pretrain(batch)
    return agent, info
