"""Both halves of ``lerobot_reads.sh``: silri writes down what it stored, lerobot compares.

The halves run in different environments and share only ``expected.npz``: the first knows
nothing of torch, the second nothing of silri.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np


def write(work: Path, dataset: Path | None) -> None:
    """silri's side: every column of every episode, from ``read_dataset``."""
    from silri.data.dataset import read_dataset

    if dataset is None:
        dataset = work / "episodes"
        make_dataset(work)
    columns: dict[str, list[np.ndarray]] = {}
    episodes = read_dataset(dataset)
    for index, episode in enumerate(episodes):
        steps = len(episode)
        frames = episode.frames
        values = {
            **{f"observation.{key}": rows[:-1] for key, rows in episode.observations.items()},
            "action": frames["action"],
            "next.reward": frames["reward"],
            "next.truncated": frames["truncated"],
            "next.done": frames["terminated"] | frames["truncated"],
            "next.success": (np.arange(steps) == steps - 1) & episode.success,
            "intervention": frames["is_intervention"],
            "episode_index": np.full(steps, index),
            "frame_index": np.arange(steps),
            "task": np.full(steps, episode.task),
        }
        for name in (
            *("policy_action", "human_action", "human_weight", "grasp_penalty"),
            *("policy_version", "is_intervention", "terminated"),
        ):
            values[f"complementary_info.{name}"] = frames[name]
        names = {name for other in episodes for name in other.diagnostics}
        for name in names:  # NaN where an episode has none
            value = episode.diagnostics.get(name, np.full(steps, np.nan, np.float32))
            values[f"complementary_info.diagnostics.{name.replace('/', '.')}"] = value
        for name, value in values.items():
            columns.setdefault(name, []).append(value)
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    joined["index"] = np.arange(len(joined["next.reward"]))
    np.savez(work / "expected.npz", **joined)
    print(f"silri: {len(episodes)} episodes, {len(joined['index'])} frames in {dataset}")


def make_dataset(work: Path) -> None:
    """Demonstrations, online episodes and a quarantined one, with odd shapes."""
    import dataclasses

    from silri.core.specs import ArraySpec
    from silri.data.store import EpisodeStore

    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from store import DIAGNOSTICS, SPEC, camera, make_episode

    observation = {**SPEC.observation, "single": ArraySpec((1,)), "matrix": ArraySpec((2, 3))}
    observation["images.front"] = ArraySpec((48, 64, 3), "uint8")
    observation["images.wrist"] = ArraySpec((32, 32, 1), "uint8")
    spec = dataclasses.replace(SPEC, observation=observation)
    with EpisodeStore(work / "episodes", work / "quarantine", spec, DIAGNOSTICS) as store:
        for number in range(12):
            episode = make_episode(number, demo=number < 3)
            steps = len(episode) + 1
            episode.observations["single"] = np.arange(steps, dtype=np.float32)[:, None]
            episode.observations["matrix"] = np.ones((steps, 2, 3), np.float32) * number
            frames = camera(number, steps, 64)
            episode.observations["images.front"] = frames[:, :48]
            episode.observations["images.wrist"] = frames[:, :32, :32, :1]
            if number == 5:
                episode.observations["state"][7] = np.nan
                store.quarantine(episode, "NaN")
            else:
                task = "show it" if number < 3 else "do it"
                store.commit(dataclasses.replace(episode, task=task))


def read(work: Path, dataset: Path) -> None:
    """lerobot's side: every frame through ``LeRobotDataset`` and a torch ``DataLoader``."""
    import lerobot
    import torch
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    frames = LeRobotDataset("silri/written-by-silri", root=dataset)
    with np.load(work / "expected.npz") as file:
        expected = dict(file)
    total = len(expected["index"])
    if (len(frames), frames.num_frames) != (total, total):
        raise SystemExit(f"lerobot sees {len(frames)} frames, silri stored {total}")
    images = 0
    for index in range(total):
        frame = frames[index]
        missing = expected.keys() - frame.keys()
        if missing:
            raise SystemExit(f"frame {index} lacks {sorted(missing)}")
        for name, column in expected.items():
            value = frame[name]
            if name == "task":
                same = value == column[index]
            elif column.dtype == np.uint8 and column.ndim == 4:  # LeRobot: (C, H, W) in [0, 1]
                same = np.array_equal(_to_bytes(value.numpy()), column[index])
                images += 1
            else:
                stored = np.asarray(column[index]).reshape(value.shape)
                same = value.numpy().tobytes() == stored.astype(value.numpy().dtype).tobytes()
            if not same:
                raise SystemExit(f"'{name}' of frame {index}: {value} is not {column[index]}")
    loader = torch.utils.data.DataLoader(frames, batch_size=64, shuffle=True)
    seen = sum(len(batch["index"]) for batch in loader)
    if seen != total:
        raise SystemExit(f"a DataLoader gave {seen} of {total} frames")
    print(
        f"lerobot {lerobot.__version__}: {frames.num_episodes} episodes, {total} frames, "
        f"{len(expected)} columns, {images} images: all equal bit for bit; "
        "a DataLoader batches them all"
    )


def _to_bytes(image: np.ndarray) -> np.ndarray:
    return np.rint(image.transpose(1, 2, 0) * 255).astype(np.uint8)


if __name__ == "__main__":
    verb, folder, *rest = sys.argv[1:]
    if verb == "write":
        write(Path(folder), Path(rest[0]) if rest else None)
    else:
        read(Path(folder), Path(rest[0]))
