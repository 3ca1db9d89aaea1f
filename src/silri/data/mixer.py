"""The replays and how a batch is drawn from them.

::

    D_R  online     every executed online transition, the policy's and the human's
    D_I  guidance   demonstrations, and every online transition where a person was in control
"""

from __future__ import annotations

import numpy as np

from silri.core.errors import ConfigError, DataError, SpecError
from silri.core.transition import Batch
from silri.data.columns import IN_REWARDS
from silri.data.episode import Episode
from silri.data.replay import Replay, concatenate


class Mixer:
    """Routes episodes into D_R and D_I, and draws batches of a fixed shape and mix.

    Attributes:
        online: D_R.
        guidance: D_I; a policy step never enters it.
        batch_size: B, rows per update.
        online_rows: how many of them come from D_R.
        reward_scale: every reward and grasp penalty of a batch is multiplied by it.
    """

    def __init__(
        self,
        online: Replay,
        guidance: Replay,
        batch_size: int,
        online_fraction: float = 0.5,
    ) -> None:
        """A mixer over replays of the same spec and columns.

        Args:
            online: D_R.
            guidance: D_I.
            batch_size: B.
            online_fraction: share of a batch that is drawn from D_R.

        Raises:
            ConfigError: on a batch size below 1, a fraction outside [0, 1], or replays whose
                columns differ.
        """
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {batch_size}")
        if not 0.0 <= online_fraction <= 1.0:
            raise ConfigError(f"online_fraction must be in [0, 1], got {online_fraction}")
        if guidance.signature != online.signature:
            raise ConfigError(
                "the replays hold different columns; make them with the same spec and columns"
            )
        self.online = online
        self.guidance = guidance
        self.batch_size = batch_size
        self.online_rows = round(batch_size * online_fraction)
        self.reward_scale = 1.0

    def add(self, episode: Episode) -> None:
        """Put a stored episode where it belongs.

        Raises:
            SpecError: if the episode does not fit, or a demonstration has steps that nobody
                drove: they would teach the policy its own actions as if a person had shown them.
            NonFiniteError: on NaN or infinity; nothing is added then.
        """
        flags = episode.frames["is_intervention"]
        if episode.is_demo:
            if not flags.all():
                raise SpecError(
                    f"demonstration {episode.episode_id} has {int((~flags).sum())} steps without "
                    "is_intervention; mark every step of a demonstration"
                )
            self.guidance.add(episode)
            return
        self.online.add(episode)
        if flags.any():
            self.guidance.add(episode, flags)

    def sample(self, rng: np.random.Generator, updates: int) -> tuple[Batch, dict[str, float]]:
        """A batch with leading axes (U, B), and the mix that was drawn.

        Within a batch the first ``online_rows`` come from D_R, the rest from D_I. While D_R or D_I
        is empty the other fills its place; ``is_intervention`` tells the truth all the same.

        Args:
            rng: of this iteration.
            updates: U.

        Returns:
            The batch, and shares of rows: ``mix/online`` (from D_R), ``mix/intervention`` and
            ``mix/demo`` (from D_I), which add up to 1, and ``mix/human`` (a person was in control,
            wherever the row came from).

        Raises:
            DataError: if both are empty.
        """
        if not len(self.online) and not len(self.guidance):
            raise DataError("nothing to sample: both replays are empty; add an episode first")
        first = self.online if len(self.online) else self.guidance
        second = self.guidance if len(self.guidance) else self.online
        parts, from_online, demos = [], 0, 0
        for replay, rows in (
            (first, self.online_rows),
            (second, self.batch_size - self.online_rows),
        ):
            slots = replay.draw(rng, (updates, rows))
            parts.append(replay.at(slots))
            from_online += slots.size if replay is self.online else 0
            demos += int(np.count_nonzero(replay.is_demo[slots]))  # D_R has none
        batch = self._scaled(concatenate(parts))
        total = updates * self.batch_size
        mix = {
            "mix/online": from_online / total,
            "mix/intervention": (total - from_online - demos) / total,
            "mix/demo": demos / total,
            "mix/human": int(np.count_nonzero(batch.is_intervention)) / total,
        }
        return batch, mix

    def sample_guidance(self, rng: np.random.Generator, updates: int, batch: int) -> Batch:
        """A batch with leading axes (updates, batch) from D_I alone, for offline stages.

        Raises:
            DataError: if D_I is empty.
        """
        if not len(self.guidance):
            raise DataError("no demonstration and no intervention to sample from")
        return self._scaled(self.guidance.sample(rng, (updates, batch)))

    def _scaled(self, batch: Batch) -> Batch:
        """``batch``, a copy of rows, with its rewards in the unit that is learned in."""
        if self.reward_scale != 1.0:
            batch.reward[...] *= np.float32(self.reward_scale)
            batch.grasp_penalty[...] *= np.float32(self.reward_scale)
            for name in IN_REWARDS:
                if name in batch.columns:
                    batch.columns[name][...] *= np.float32(self.reward_scale)
        return batch
