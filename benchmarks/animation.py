"""An episode of a run as an animation: who drives is in the frame's colour.

    python benchmarks/animation.py runs/demo --out training.gif
    python benchmarks/animation.py runs/demo --episode 21 --every 2 --out training.gif

Without ``--episode`` it takes the first training episode that the policy began, a person corrected
and the policy finished by itself. Simulations are drawn by running the episode again.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from silri.console.stored.replay import Replay
from silri.core.errors import DataError
from silri.data.episode import Episode

SIZE, BAND = 256, 26
POLICY, PERSON = (0, 114, 178), (213, 94, 0)


def main() -> None:
    """Draw one episode."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--episode", type=int, help="its number; without: one with a takeover")
    parser.add_argument("--every", type=int, default=2, help="draw every n-th step")
    parser.add_argument("--ms", type=int, default=80, help="of a frame")
    parser.add_argument("--out", type=Path, default=Path("training.gif"))
    chosen = parser.parse_args()
    archive = Replay(chosen.run, "always").archive
    number = chosen.episode
    if number is None:
        number = with_a_takeover([archive.read(row["episode"]) for row in archive.index()])
    episode = archive.read(number)
    steps = [*range(0, len(episode), chosen.every), len(episode) - 1]
    frames = [draw(archive.frame(number, step, 0), episode, step) for step in steps]
    rests = [chosen.ms] * (len(frames) - 1) + [15 * chosen.ms]
    palette = [frame.quantize(96, dither=Image.Dither.NONE) for frame in frames]
    palette[0].save(
        chosen.out, save_all=True, append_images=palette[1:], duration=rests, loop=0, optimize=True
    )
    size = chosen.out.stat().st_size / 1e6
    print(f"{chosen.out}: episode {number}, {len(frames)} frames, {size:.2f} MB")


def with_a_takeover(episodes: list[Episode]) -> int:
    """The first episode that the policy began, a person corrected, and that ended well.

    Raises:
        DataError: there is none.
    """
    for episode in episodes:
        driven = episode.frames["is_intervention"]
        mixed = 0.15 < driven.mean() < 0.6 and not driven[:5].any() and not driven[-1]
        if episode.success and not episode.is_demo and mixed:
            return episode.episode_id
    raise DataError("no training episode has a takeover in its middle; give --episode")


def draw(jpeg: bytes, episode: Episode, step: int) -> Image.Image:
    """One frame with who drives in words and colour."""
    person = bool(episode.frames["is_intervention"][step])
    colour, words = (PERSON, "the person drives") if person else (POLICY, "the policy drives")
    if step == len(episode) - 1 and episode.success:
        words = "done"
    scene = Image.open(io.BytesIO(jpeg)).convert("RGB").resize((SIZE, SIZE))
    frame = Image.new("RGB", (SIZE, SIZE + BAND), colour)
    frame.paste(scene, (0, 0))
    pen = ImageDraw.Draw(frame)
    pen.rectangle((0, 0, SIZE - 1, SIZE + BAND - 1), outline=colour, width=4)
    pen.text((10, SIZE + 4), words, fill="white", font=ImageFont.load_default(15))
    share = np.clip((step + 1) / len(episode), 0.0, 1.0)
    pen.rectangle((SIZE - 90, SIZE + 10, SIZE - 10, SIZE + 16), outline="white")
    pen.rectangle((SIZE - 90, SIZE + 10, SIZE - 90 + 80 * share, SIZE + 16), fill="white")
    return frame


if __name__ == "__main__":
    main()
