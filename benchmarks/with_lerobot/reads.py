"""Both halves of ``reads.sh``: silri writes down what it stored, lerobot compares.

The halves run in different environments and share only ``expected.npz``: the first knows
nothing of torch, the second nothing of silri.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

# What an export keeps, beside the observations.
KEPT = (
    *("action", "next.reward", "next.done", "next.truncated", "next.success", "intervention"),
    *("complementary_info.is_intervention", "complementary_info.grasp_penalty"),
    *("episode_index", "frame_index", "index", "task"),
)
VIDEO_TOLERANCE = 8  # of 255, on average over a frame


def write(work: Path, dataset: Path | None) -> None:
    """silri's side: every column of every episode, from ``read_dataset``."""
    from silri.store.dataset import read_dataset
    from silri.store.tools.export import export
    from silri.store.tools.survey import Place

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
        # The files have no NaN: the executed action where nobody drove, 0 for what was not said.
        driven = frames["is_intervention"][:, None]
        human = np.where(driven, frames["human_action"], frames["action"])
        values["complementary_info.human_action"] = human
        names = {name for other in episodes for name in other.diagnostics}
        for name in names:
            value = episode.diagnostics.get(name, np.zeros(steps, np.float32))
            said = np.where(np.isnan(value), np.float32(0), value)
            values[f"complementary_info.diagnostics.{name.replace('/', '.')}"] = said
        for name, value in values.items():
            columns.setdefault(name, []).append(value)
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    joined["index"] = np.arange(len(joined["next.reward"]))
    np.savez(work / "expected.npz", **joined)
    place = Place.of(dataset)
    export(place, work / "export")
    export(place, work / "video", video=True)
    print(f"silri: {len(episodes)} episodes, {len(joined['index'])} frames in {dataset}")


def make_dataset(work: Path) -> None:
    """Demonstrations, online episodes and a quarantined one, with odd shapes."""
    import dataclasses

    from silri.core.specs import ArraySpec
    from silri.store.store import EpisodeStore

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
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
            episode.observations["images.front"] = np.ascontiguousarray(frames[:, :48])
            episode.observations["images.wrist"] = np.ascontiguousarray(frames[:, :32, :32, :1])
            if number == 5:
                episode.observations["state"][7] = np.nan
                store.quarantine(episode, "NaN")
            else:
                task = "show it" if number < 3 else "do it"
                store.commit(dataclasses.replace(episode, task=task))


def read(work: Path, dataset: Path) -> None:
    """lerobot's side: the dataset itself, and both of its exports."""
    with np.load(work / "expected.npz") as file:
        expected = dict(file)
    compare("the dataset", dataset, expected, exact=True)
    plain = {
        {"complementary_info.grasp_penalty": "complementary_info.discrete_penalty"}.get(k, k): v
        for k, v in expected.items()
        if k in KEPT or k.startswith("observation.")
    }
    compare("its export", work / "export", plain, exact=True)
    compare("its export with videos", work / "video", plain, exact=False)


def compare(what: str, folder: Path, expected: dict[str, np.ndarray], *, exact: bool) -> None:
    """Every frame through ``LeRobotDataset`` and a torch ``DataLoader``."""
    import lerobot
    import torch
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    # pyav: torchcodec needs the system's own FFmpeg.
    frames = LeRobotDataset(f"silri/{folder.name}", root=folder, video_backend="pyav")
    total = len(expected["index"])
    if (len(frames), frames.num_frames) != (total, total):
        raise SystemExit(f"{what}: lerobot sees {len(frames)} frames, silri stored {total}")
    errors = []
    for index in range(total):
        frame = frames[index]
        missing = expected.keys() - frame.keys()
        if missing:
            raise SystemExit(f"{what}: frame {index} lacks {sorted(missing)}")
        for name, column in expected.items():
            value = frame[name]
            if name == "task":
                same = value == column[index]
            elif column.dtype == np.uint8 and column.ndim == 4:  # LeRobot: (C, H, W) in [0, 1]
                apart = np.abs(_to_bytes(value.numpy()) - column[index].astype(np.int64))
                errors.append(float(apart.mean()))
                same = (not apart.any()) if exact else apart.mean() < VIDEO_TOLERANCE
            else:
                stored = np.asarray(column[index]).reshape(value.shape)
                same = value.numpy().tobytes() == stored.astype(value.numpy().dtype).tobytes()
            if not same:
                raise SystemExit(f"{what}: '{name}' of frame {index} differs")
    loader = torch.utils.data.DataLoader(frames, batch_size=64, shuffle=True)
    seen = sum(len(batch["index"]) for batch in loader)
    if seen != total:
        raise SystemExit(f"{what}: a DataLoader gave {seen} of {total} frames")
    lossy = "" if exact else f" but the videos' pixels, {np.mean(errors or [0]):.1f} of 255 apart"
    print(
        f"lerobot {lerobot.__version__}, {what}: {frames.num_episodes} episodes, {total} frames, "
        f"{len(expected)} columns, {len(errors)} images: all equal bit for bit{lossy}; "
        "a DataLoader batches them all"
    )


def _to_bytes(image: np.ndarray) -> np.ndarray:
    return np.rint(image.transpose(1, 2, 0) * 255).astype(np.int64)


if __name__ == "__main__":
    verb, folder, *rest = sys.argv[1:]
    if verb == "write":
        write(Path(folder), Path(rest[0]) if rest else None)
    else:
        read(Path(folder), Path(rest[0]))
