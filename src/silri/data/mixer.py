"""The replays and how a batch is drawn from them.

::

    D_R  online     every executed online transition, the policy's and the human's
    D_I  guidance   demonstrations, and every online transition where a person was in control;
                    optional: of episodes that ended in success alone
    D_S  own        optional: what the robot did by itself on the way to a success
"""

from __future__ import annotations

import numpy as np

from silri.core.errors import ConfigError, DataError, SpecError
from silri.core.transition import Batch, Imitate
from silri.data.episode import Episode
from silri.data.replay import Replay, Rows


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
        own: Replay | None = None,
        own_fraction: float = 0.0,
        imitate: Imitate = "all",
    ) -> None:
        """A mixer over replays of the same spec and extras.

        Args:
            online: D_R.
            guidance: D_I.
            batch_size: B.
            online_fraction: share of a batch that is drawn from D_R.
            own: D_S; None keeps none.
            own_fraction: share of the other rows that is drawn from D_S once it has any.
            imitate: "successes": what a person did in an episode that failed is no guidance.

        Raises:
            ConfigError: on a batch size below 1, a fraction outside [0, 1], or replays whose
                columns differ.
        """
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {batch_size}")
        if not 0.0 <= online_fraction <= 1.0:
            raise ConfigError(f"online_fraction must be in [0, 1], got {online_fraction}")
        if not 0.0 <= own_fraction < 1.0:
            raise ConfigError(f"own_fraction must be in [0, 1), got {own_fraction}")
        if any(replay.layout != online.layout for replay in (guidance, own or guidance)):
            raise ConfigError(
                "the replays hold different columns; make them with the same spec and extras"
            )
        self.online = online
        self.guidance = guidance
        self.own = own
        self.batch_size = batch_size
        self.online_rows = round(batch_size * online_fraction)
        self.own_rows = round((batch_size - self.online_rows) * own_fraction)
        self.imitate = imitate
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
        guides = self.imitate == "all" or episode.success
        self.online.add(episode, guides=guides)
        if guides and flags.any():
            self.guidance.add(episode, flags)
        if self.own is not None and (unaided := _unaided_tail(episode)).any():
            self.own.add(episode, unaided)

    def sample(self, rng: np.random.Generator, updates: int) -> tuple[Batch, dict[str, float]]:
        """A batch with leading axes (U, B), and the mix that was drawn.

        Within a batch the first ``online_rows`` come from D_R, the last ``own_rows`` from D_S if
        it has any, the rest from D_I. While D_R or D_I is empty the other fills its place; flags
        tell the truth all the same, but that rows of D_S count as guidance.

        Args:
            rng: of this iteration.
            updates: U.

        Returns:
            The batch, and shares of rows: ``mix/online`` (from D_R), ``mix/intervention`` and
            ``mix/demo`` (from D_I), ``mix/own`` (from D_S), which add up to 1, and
            ``mix/human`` (a person was in control, wherever the row came from).

        Raises:
            DataError: if both are empty.
        """
        if not len(self.online) and not len(self.guidance):
            raise DataError("nothing to sample: both replays are empty; add an episode first")
        first = self.online if len(self.online) else self.guidance
        second = self.guidance if len(self.guidance) else self.online
        rows = self.online.layout.allocate((updates, self.batch_size))
        from_online = demos = 0
        own_rows = 0
        if self.own is not None:
            share = len(self.own) / max(len(self.own) + len(self.guidance), 1)
            own_rows = min(self.own_rows, round(share * (self.batch_size - self.online_rows)))
        split = self.batch_size - own_rows
        parts = [(first, slice(0, self.online_rows)), (second, slice(self.online_rows, split))]
        if self.own is not None and own_rows:
            parts.append((self.own, slice(split, self.batch_size)))
        for replay, part in parts:
            slots = replay.draw(rng, (updates, part.stop - part.start))
            for update in range(updates):
                # Row by row of U, so that each piece of ``rows`` is contiguous.
                replay.gather(
                    slots[update],
                    Rows(
                        rows.packed[update, part],
                        {path: column[update, part] for path, column in rows.separate.items()},
                    ),
                )
            from_online += slots.size if replay is self.online else 0
            demos += int(np.count_nonzero(replay.is_demo[slots]))  # D_R has none
        batch = self._scaled(self.online.layout.batch(rows))
        batch.is_guidance[:, split:] = 1.0
        total = updates * self.batch_size
        mix = {
            "mix/online": from_online / total,
            "mix/intervention": (total - from_online - demos) / total - own_rows / self.batch_size,
            "mix/own": own_rows / self.batch_size,
            "mix/demo": demos / total,
            "mix/human": int(np.count_nonzero(batch.is_intervention)) / total,
        }
        return batch, mix

    def sample_guidance(self, rng: np.random.Generator, updates: int, batch: int) -> Batch:
        """A batch with leading axes (updates, batch) from D_I alone.

        For offline pretraining, BC and bursts of the human policy.

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
        return batch


def _unaided_tail(episode: Episode) -> np.ndarray:
    """(T,) bool: of a success, what the robot did after the person had let go for good.

    Before that a person saw a reason to take over, so those steps are nobody's example.
    """
    if not episode.success:
        return np.zeros(len(episode), np.bool_)
    flags = episode.frames["is_intervention"]
    later = np.cumsum(flags[::-1])[::-1]
    return np.asarray(later == 0)
