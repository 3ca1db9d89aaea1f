"""Sample, update, publish. Plain functions that know nothing of environments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import jax

from silri.agents.base import Agent, AgentConfig
from silri.agents.stages import Stage
from silri.core.seeding import Stream, rng
from silri.core.transition import fake_batch
from silri.data.episode import Episode
from silri.data.mixer import Mixer
from silri.data.statistics import largest_return
from silri.nn.train_state import Info
from silri.vision.sighted import Sighted

CHUNK = 100  # gradient steps per dispatch of a stage that learns from guidance alone


def reward_scale(config: AgentConfig, demonstrations: Iterable[Episode]) -> float:
    """What rewards are multiplied by so that critics see the same whatever their size.

    1 if ``config.reward_unit`` is 0, or no demonstration tells what there is to earn.
    """
    if not config.reward_unit:
        return 1.0
    largest = largest_return(demonstrations, config.discount)
    return config.reward_unit / largest if largest else 1.0


def learn(
    agent: Agent, mixer: Mixer, seed: int, iteration: int, stage: str = "online"
) -> tuple[Agent, Info, dict[str, float]]:
    """One learner iteration; everything random in it derives from (seed, iteration).

    Returns:
        The new agent and its metrics, not yet waited for, and the mix of the batch.
    """
    batch, mix = mixer.sample(rng(seed, Stream.REPLAY, iteration), agent.config.utd)
    agent, info = agent.update(batch, stage)
    return agent, info, mix


def learn_from_guidance(
    agent: Agent, mixer: Mixer, seed: int, stage: Stage, stop: Callable[[], bool]
) -> Iterator[tuple[Agent, Info]]:
    """A stage of gradient steps on demonstrations and interventions, :data:`CHUNK` a time.

    ``stage.updates`` is rounded up to whole chunks, each one dispatch.

    Yields:
        The agent and the metrics after each chunk.
    """
    for chunk in range(-(-(stage.updates or 0) // CHUNK)):
        if stop():
            return
        generator = rng(seed, Stream.PRETRAIN_REPLAY, chunk)
        batch = mixer.sample_guidance(generator, CHUNK, agent.config.batch_size)
        agent, info = agent.update(batch, stage.name)
        yield agent, info


def warm_up(acting: Sighted, *, learning: bool = True) -> None:
    """Compile what every step needs before the clock matters; nothing is learned."""
    blank = {key: array.blank() for key, array in acting.sight.spec.observation.items()}
    acting.act(blank, episode=0, step=0, explore=True)
    if learning:
        agent, config = acting.agent, acting.agent.config
        shape = (config.utd, config.batch_size)
        batch = fake_batch(acting.sight.seen, shape, columns=config.columns)
        jax.block_until_ready(agent.update(batch)[1])
