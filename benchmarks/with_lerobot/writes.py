"""Both halves of ``writes.sh``: lerobot records two small datasets, silri reads them.

The halves run in different environments and share the datasets and, for each, ``NAME.npz`` with
what lerobot itself reads from it: the first half knows nothing of silri, the second none of torch.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

LENGTHS = (8, 10, 12)
CAMERA = "observation.images.front"
# Two decoders of the same video may round differently, by this much of 255.
VIDEO_TOLERANCE = 3


def picture(episode: int, step: int, side: int = 64) -> np.ndarray:
    y, x = np.mgrid[:side, :side]
    frame = np.stack([x * 3, y * 3, x + y], -1)
    frame[(x - 20 - step * 2) ** 2 + (y - 30 - episode * 5) ** 2 < 60] = 250, 40, 40 * episode
    return frame.astype(np.uint8)


def write(work: Path) -> None:
    """lerobot's side: record, then note down every frame as ``LeRobotDataset`` gives it."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    for kind in ("image", "video"):
        names = ["height", "width", "channels"]
        features = {
            "observation.state": {"dtype": "float32", "shape": (3,), "names": ["a", "b", "c"]},
            "observation.environment_state": {"dtype": "float64", "shape": (1,), "names": None},
            CAMERA: {"dtype": kind, "shape": (64, 64, 3), "names": names},
            "action": {"dtype": "float32", "shape": (2,), "names": ["x", "y"]},
            "next.reward": {"dtype": "float32", "shape": (1,), "names": None},
            "next.done": {"dtype": "bool", "shape": (1,), "names": None},
            "complementary_info.is_intervention": {"dtype": "bool", "shape": (1,), "names": None},
        }
        dataset = LeRobotDataset.create(
            f"lerobot/{kind}",
            fps=10,
            features=features,
            root=work / kind,
            use_videos=kind == "video",
        )
        for episode, length in enumerate(LENGTHS):
            for step in range(length):
                dataset.add_frame(
                    {
                        "observation.state": np.array([episode, step, 0.5], np.float32),
                        "observation.environment_state": np.array([step / 3]),
                        CAMERA: picture(episode, step),
                        "action": np.array([np.sin(step), -0.3], np.float32),
                        "next.reward": np.array([step == length - 1], np.float32),
                        "next.done": np.array([step == length - 1]),
                        "complementary_info.is_intervention": np.array([step % 2 == 0]),
                        "task": "push" if episode < 2 else "pull",
                    }
                )
            dataset.save_episode()
        dataset.finalize()
        # pyav: torchcodec needs the system's own FFmpeg.
        again = LeRobotDataset(f"lerobot/{kind}", root=work / kind, video_backend="pyav")
        frames = [again[index] for index in range(len(again))]
        columns = {name: np.stack([np.asarray(f[name]) for f in frames]) for name in frames[0]}
        np.savez(work / f"{kind}.npz", **columns)


def read(work: Path) -> None:
    """silri's side."""
    from silri.store.dataset import read_dataset

    for kind in ("image", "video"):
        with np.load(work / f"{kind}.npz") as file:
            expected = dict(file)
        episodes = read_dataset(work / kind)
        if [len(episode) for episode in episodes] != list(LENGTHS):
            raise SystemExit(f"{kind}: lengths {[len(episode) for episode in episodes]}")
        pairs = {
            "action": [episode.frames["action"] for episode in episodes],
            "next.reward": [episode.frames["reward"] for episode in episodes],
            "task": [np.full(len(episode), episode.task) for episode in episodes],
        }
        for key in ("state", "environment_state"):
            pairs[f"observation.{key}"] = [e.observations[key][:-1] for e in episodes]
        for name, parts in pairs.items():
            value = np.concatenate(parts)
            wanted = expected[name].reshape(value.shape).astype(value.dtype)
            if not np.array_equal(value, wanted):
                raise SystemExit(f"{kind}: '{name}' differs")
        seen = np.concatenate([e.observations["images.front"][:-1] for e in episodes])
        wanted = np.rint(expected[CAMERA].transpose(0, 2, 3, 1) * 255)
        apart = int(np.abs(seen - wanted).max())
        if apart > (VIDEO_TOLERANCE if kind == "video" else 0):
            raise SystemExit(f"{kind}: a pixel is {apart} of 255 apart from what lerobot reads")
        print(
            f"{kind}: {len(episodes)} episodes, {len(seen)} frames: columns equal, "
            f"pixels at most {apart} of 255 apart"
        )


if __name__ == "__main__":
    {"write": write, "read": read}[sys.argv[1]](Path(sys.argv[2]))
