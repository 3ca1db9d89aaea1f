"""An episode as the bytes that it has on disk: sent, checked and stored without decoding images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from silri.core.errors import SpecError
from silri.core.specs import EnvSpec
from silri.data.episode import Episode, check_episode
from silri.store.format.images import is_image, png_shape
from silri.store.format.lerobot import decode_episode, encode_frames, encoded_images, episode_row
from silri.store.format.numbers import frame_statistics, image_statistics
from silri.store.format.rows import EpisodeRow


@dataclass(frozen=True)
class EncodedEpisode:
    """An episode whose images are compressed.

    Attributes:
        frames: a data file, as :func:`~silri.store.format.lerobot.encode_frames` makes it.
        row: what goes with it. Its ``data_sha256`` is that of ``frames``.
    """

    frames: bytes
    row: EpisodeRow

    def __len__(self) -> int:
        return self.row.steps

    @property
    def episode_id(self) -> int:
        """Number in the run."""
        return self.row.episode_id

    @property
    def origin(self) -> str:
        """See :class:`~silri.data.episode.Episode`."""
        return self.row.origin

    @property
    def task(self) -> str:
        """See :class:`~silri.data.episode.Episode`."""
        return self.row.task

    @property
    def seed(self) -> int:
        """See :class:`~silri.data.episode.Episode`."""
        return self.row.seed

    @property
    def is_demo(self) -> bool:
        """See :class:`~silri.data.episode.Episode`."""
        return self.row.is_demo

    def numbered(self, episode_id: int) -> EncodedEpisode:
        """The same episode with another number in a run."""
        return replace(self, row=replace(self.row, episode_id=episode_id))

    def decode(self) -> Episode:
        """The episode, bit for bit what was encoded."""
        return decode_episode(self.frames, self.row)

    def image_statistics(self) -> Mapping[str, Sequence[Any]]:
        """The row's, or computed here if robots of an older silri sent it."""
        return self.row.stats or image_statistics(self.decode())

    def check(self, spec: EnvSpec) -> None:
        """Whether it fits ``spec`` and is finite; of images only the headers are looked at.

        Raises:
            SpecError: see :func:`~silri.data.episode.check_episode`.
            NonFiniteError: likewise.
        """
        images = {key: a.shape for key, a in spec.observation.items() if is_image(a)}
        vectors = {key: a for key, a in spec.observation.items() if key not in images}
        found = {
            key: [*pngs, self.row.final_images.get(key, b"")]
            for key, pngs in encoded_images(self.frames).items()
        }
        if found.keys() != images.keys():
            raise SpecError(
                f"episode {self.episode_id} has images {sorted(found)}; "
                f"{spec.name} needs {sorted(images)}"
            )
        for key, pngs in found.items():
            for index, png in enumerate(pngs):
                if png_shape(png) != images[key]:
                    raise SpecError(
                        f"'observation.{key}' of episode {self.episode_id} is {png_shape(png)} in "
                        f"row {index}; {spec.name} needs PNG images of {images[key]}"
                    )
        check_episode(
            decode_episode(self.frames, self.row, images=False), replace(spec, observation=vectors)
        )


def encode(episode: Episode, fps: float) -> EncodedEpisode:
    """``episode`` with its statistics, at the first place of a dataset; any, finite or not."""
    frames = encode_frames(episode, episode_index=0, first_frame=0, task_index=0, fps=fps)
    stats = frame_statistics(frames, image_statistics(episode))
    return EncodedEpisode(frames, episode_row(episode, frames, stats))
