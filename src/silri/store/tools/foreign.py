"""Reading a LeRobotDataset v3.0 that ``lerobot`` or another program wrote, as demonstrations.

What its format lacks is filled in so that nothing wrong is ever learned from it:

- **No observation after the last action.** An episode that ran out of time (``next.truncated`` at
  its end, no success) loses its last frame, whose observation is the true end of those before.
  Any other episode keeps all frames; the last observation stands for the one after it, and the
  episode ends ``terminated``, so that nothing bootstraps from what nobody saw.
- **No reward** (``next.reward``): 1 at the end, 0 before. **No success** (``next.success``): the
  last reward is above 0; without rewards, a demonstration succeeded.
- **Who acted**: read as demonstrations, a person did in every frame. Else the flag says so, under
  any of its names (:data:`FLAGS`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from silri.core.errors import DataError, NonFiniteError, SpecError
from silri.core.specs import ArraySpec, EnvSpec
from silri.data.episode import Episode, check_episode
from silri.store.format.images import decode_images
from silri.store.format.layout import CODEBASE_VERSION, DATA_PATH, INFO_PATH, VIDEO_PATH
from silri.store.tools.video import read_frames

FLAGS = (
    "complementary_info.is_intervention",  # lerobot's HIL-SERL, and ours
    "intervention",  # lerobot-rollout
    "intervene_flag",  # RLinf
)
_OBSERVATION = "observation."
_PENALTIES = ("complementary_info.discrete_penalty", "complementary_info.grasp_penalty")
_TOLERANCE = 1e-5  # of an action that was computed in another precision


@dataclass(frozen=True)
class _Dataset:
    """What ``meta`` says.

    Attributes:
        folder: of the dataset.
        fps: frames per second.
        features: as in ``info.json``.
        shapes: of each observation that is wanted and of the action; images (H, W, C).
        episodes: one per episode, in order.
        texts: observations that say what an episode's task says.
    """

    folder: Path
    fps: float
    features: Mapping[str, Mapping[str, Any]]
    shapes: Mapping[str, tuple[int, ...]]
    episodes: list[dict[str, Any]]
    texts: Mapping[str, ArraySpec]


def read_foreign(
    folder: Path, info: Mapping[str, Any], spec: EnvSpec | None, demonstrations: bool
) -> Iterator[Episode]:
    """Every episode, in order; one is in memory at a time.

    Args:
        folder: the dataset.
        info: its ``info.json``.
        spec: what the episodes must fit; observations that it does not have are left out. None
            takes all observations as they are, in float32.
        demonstrations: a person acted in every frame, whatever flags there are.

    Raises:
        DataError: damaged, incomplete or of another version; names the file or column.
        SpecError: a column does not fit ``spec``, or an action is outside [-1, 1].
        MissingExtraError: it has videos and PyAV is not installed.
    """
    dataset = _open(folder, info, spec)
    path, table = Path(), pa.table({})
    for row in dataset.episodes:
        # Episodes share files: the last one stays open.
        name = _file(DATA_PATH, row, "data")
        if folder / name != path:
            path, table = folder / name, _read_table(folder, name)
        episode = _episode(dataset, row, table, name, demonstrations)
        if spec is not None:
            check_episode(episode, spec)
        yield episode


def _open(folder: Path, info: Mapping[str, Any], spec: EnvSpec | None) -> _Dataset:
    version = info.get("codebase_version")
    if version != CODEBASE_VERSION:
        raise DataError(
            f"{folder} has codebase_version '{version}' in {INFO_PATH}; silri reads "
            f"'{CODEBASE_VERSION}'. Convert it with 'python -m "
            "lerobot.datasets.v30.convert_dataset_v21_to_v30 --repo-id=...' (lerobot 0.4)"
        )
    features, fps = info.get("features"), info.get("fps")
    if not isinstance(features, dict) or not isinstance(fps, int | float) or not fps > 0:
        raise DataError(f"{folder / INFO_PATH} lacks 'features' or a positive 'fps'")
    names = [name for name in features if name.startswith(_OBSERVATION)]
    if spec is not None:
        names = [_OBSERVATION + k for k, array in spec.observation.items() if not array.is_text]
    shapes = {}
    for name in [*names, "action"]:
        if name not in features:
            raise SpecError(
                f"{folder} has no column '{name}'"
                + (f", which {spec.name} needs" if spec is not None else "")
                + f"; it has {sorted(features)}. Rename the column or choose another environment"
            )
        shapes[name] = feature_shape(folder, name, features[name])
    if spec is not None:
        _check_shapes(folder, shapes, features, spec)
    rows = _episode_rows(folder)
    if info.get("total_episodes", len(rows)) != len(rows):
        raise DataError(
            f"{folder} has {len(rows)} episodes in meta/episodes and {info['total_episodes']} in "
            f"{INFO_PATH}; it is incomplete: copy or download it again, or call "
            "dataset.finalize() where it is recorded"
        )
    texts = {} if spec is None else {k: a for k, a in spec.observation.items() if a.is_text}
    return _Dataset(folder, float(fps), features, shapes, rows, texts)


def feature_shape(folder: Path, name: str, feature: Any) -> tuple[int, ...]:
    """Of a column, as ``info.json`` has it; images (H, W, C).

    Raises:
        DataError: the feature has no shape or no dtype.
        SpecError: an image that is neither grey nor RGB.
    """
    try:
        shape = tuple(int(size) for size in feature["shape"])
        kind, names = feature["dtype"], feature.get("names")
    except (KeyError, TypeError, ValueError):
        raise DataError(f"'{name}' has no dtype or no shape in {folder / INFO_PATH}") from None
    if kind not in ("image", "video"):
        return shape
    if isinstance(names, list) and names and names[0] in ("channel", "channels"):
        shape = (*shape[1:], shape[0])
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise SpecError(
            f"'{name}' of {folder} has shape {feature['shape']}; silri reads images of "
            "(height, width, 3) or (height, width, 1)"
        )
    return shape


def _check_shapes(
    folder: Path,
    shapes: Mapping[str, tuple[int, ...]],
    features: Mapping[str, Mapping[str, Any]],
    spec: EnvSpec,
) -> None:
    expected = {
        _OBSERVATION + key: array for key, array in spec.observation.items() if not array.is_text
    }
    expected["action"] = ArraySpec((spec.action.size,))
    for name, array in expected.items():
        image = features[name]["dtype"] in ("image", "video")
        if image != (array.dtype == "uint8"):
            raise SpecError(
                f"'{name}' of {folder} is {features[name]['dtype']}; {spec.name} needs "
                f"{array.dtype}{array.shape}"
            )
        # A vector of one element is stored like a number.
        if shapes[name] != array.shape and not (shapes[name] == (1,) and array.shape == ()):
            raise SpecError(
                f"'{name}' of {folder} has shape {shapes[name]}; {spec.name} needs "
                f"{array.shape}. Record with the same environment, or convert the column"
            )


def _episode_rows(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for path in sorted((folder / "meta/episodes").glob("*/*.parquet")):
        table = _read_table(folder, str(path.relative_to(folder)))
        kept = [name for name in table.column_names if not name.startswith("stats/")]
        try:
            rows += table.select(kept).to_pylist()
        except ValueError as error:  # a text that is no UTF-8
            raise DataError(f"{path} is damaged: {error}") from None
    for index, row in enumerate(rows):
        number, length = row.get("episode_index"), row.get("length")
        if number != index or type(length) is not int or length < 1:
            raise DataError(
                f"row {index} of meta/episodes in {folder} has episode_index {number} and length "
                f"{length}; the dataset is damaged or incomplete: copy or download it again"
            )
    return rows


def _read_table(folder: Path, name: str) -> pa.Table:
    try:
        table = pq.read_table(folder / name, use_threads=False)
        table.column_names  # noqa: B018 (decoded only now; damaged ones are no UTF-8)
        return table
    except FileNotFoundError:
        raise DataError(f"{folder / name} is missing; copy or download it again") from None
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        raise DataError(f"{folder / name} is no readable parquet file: {error}") from None


def _file(pattern: str, row: Mapping[str, Any], prefix: str, **more: str) -> str:
    chunk, file = row.get(f"{prefix}/chunk_index"), row.get(f"{prefix}/file_index")
    if type(chunk) is not int or type(file) is not int:
        raise DataError(f"episode {row['episode_index']} has no '{prefix}/file_index'")
    return pattern.format(chunk_index=chunk, file_index=file, **more)


def _episode(
    dataset: _Dataset, row: dict[str, Any], table: pa.Table, name: str, demonstrations: bool
) -> Episode:
    index, steps = row["episode_index"], row["length"]
    where = f"episode {index} ({dataset.folder / name})"
    frames = _Frames(table, index, where)
    if frames.count != steps or not np.array_equal(
        frames.numbers("frame_index", (), np.int64), np.arange(steps)
    ):
        raise DataError(
            f"{where} has {frames.count} frames, or not in order; meta/episodes says {steps}: "
            "copy or download it again"
        )
    action = _action(frames, dataset.shapes["action"], where)
    ended = np.arange(steps) == steps - 1
    reward = ended.astype(np.float32)
    success = True
    if "next.reward" in frames:
        reward = frames.numbers("next.reward", (), np.float32)
        success = bool(reward[-1] > 0)
    if "next.success" in frames:
        success = bool(frames.numbers("next.success", (), np.bool_)[-1])
    flags = np.full(steps, demonstrations)
    flag = next((flag for flag in FLAGS if flag in frames), None)
    if flag is not None and not demonstrations:
        flags = frames.numbers(flag, (), np.bool_)
    penalty = next((penalty for penalty in _PENALTIES if penalty in frames), None)
    timed_out = (
        steps > 1
        and not success
        and "next.truncated" in frames
        and bool(frames.numbers("next.truncated", (), np.bool_)[-1])
    )
    kept = steps - timed_out
    columns = {
        "action": action,
        "policy_action": action,
        "human_action": np.where(flags[:, None], action, np.float32(np.nan)),
        "human_weight": flags.astype(np.float32),
        "reward": reward,
        "terminated": ended,
        "truncated": np.zeros(steps, np.bool_),
        "is_intervention": flags,
        "grasp_penalty": frames.numbers(penalty, (), np.float32)
        if penalty
        else np.zeros(steps, np.float32),
        "policy_version": np.zeros(steps, np.int64),
    }
    columns = {key: value[:kept].copy() for key, value in columns.items()}
    columns["truncated"][-1] = timed_out
    return Episode(
        episode_id=index,
        observations=_observations(dataset, row, frames, steps, timed_out),
        frames=columns,
        diagnostics={},
        success=success,
        is_demo=demonstrations,
        seed=-1,  # nobody knows
        task=_task(row),
        operator="unknown",
    )


def _observations(
    dataset: _Dataset, row: dict[str, Any], frames: _Frames, steps: int, timed_out: bool
) -> dict[str, np.ndarray]:
    """(T + 1, *shape) each: see the module about the last one."""
    observations = {}
    for name, shape in dataset.shapes.items():
        if name == "action":
            continue
        kind = dataset.features[name]["dtype"]
        if kind == "video":
            video = _file(VIDEO_PATH, row, f"videos/{name}", video_key=name)
            start = float(row.get(f"videos/{name}/from_timestamp") or 0.0)
            times = [start + step / dataset.fps for step in range(steps)]
            values = read_frames(dataset.folder / video, times, dataset.fps, shape, name)
        elif kind == "image":
            values = decode_images(frames.images(name), shape, name)
        else:
            values = frames.numbers(name, shape, np.float32)
        if not timed_out:
            values = np.concatenate([values, values[-1:]])
        observations[name.removeprefix(_OBSERVATION)] = values
    for key, array in dataset.texts.items():
        said = array.validate(f"{key}, the task of episode {row['episode_index']}", _task(row))
        observations[key] = np.repeat(said, steps + 1 - timed_out)
    return observations


def _action(frames: _Frames, shape: tuple[int, ...], where: str) -> np.ndarray:
    action = frames.numbers("action", shape, np.float32)
    outside = np.argwhere(~(np.abs(action) <= 1 + _TOLERANCE))
    if len(outside):
        step, dimension = (int(number) for number in outside[0])
        value = action[step, dimension]
        if not np.isfinite(value):
            raise NonFiniteError(
                f"'action' of {where} is {value} in frame {step}; remove that episode"
            )
        raise SpecError(
            f"'action' of {where} is {value:g} in frame {step}, dimension {dimension}; silri's "
            "actions are in [-1, 1]: divide that column by the largest command that your "
            "environment takes (or record through an environment whose actions are normalised)"
        )
    return np.clip(action, -1, 1)


def _task(row: Mapping[str, Any]) -> str:
    tasks = row.get("tasks")
    return str(tasks[0]) if isinstance(tasks, list) and tasks else ""


class _Frames:
    """The rows of one episode in a table that holds several."""

    def __init__(self, table: pa.Table, index: int, where: str) -> None:
        self._where = where
        if "episode_index" not in table.column_names:
            raise DataError(f"{where} has no column 'episode_index'")
        mine = table["episode_index"].to_numpy() == index
        self._table = table.filter(pa.array(mine))
        self.count = self._table.num_rows

    def __contains__(self, name: str) -> bool:
        return name in self._table.column_names

    def numbers(self, name: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        """A column of numbers as (T, *shape); lists however nested."""
        flat = self._column(name)
        while pa.types.is_nested(flat.type):
            if pa.types.is_struct(flat.type):
                raise DataError(f"'{name}' of {self._where} holds {flat.type}, not numbers")
            flat = flat.flatten()
        if not (pa.types.is_floating(flat.type) or pa.types.is_integer(flat.type)) and not (
            pa.types.is_boolean(flat.type)
        ):
            raise DataError(f"'{name}' of {self._where} holds {flat.type}, not numbers")
        values = flat.to_numpy(zero_copy_only=False)
        size = self.count * int(np.prod(shape, dtype=np.int64))
        if flat.null_count or values.size != size:
            raise DataError(
                f"'{name}' of {self._where} has {values.size} numbers in {self.count} frames "
                f"({flat.null_count} missing); shape {shape or (1,)} each is expected"
            )
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is found later
            return values.astype(dtype).reshape(self.count, *shape)

    def images(self, name: str) -> list[bytes]:
        """A column of image files."""
        column = self._column(name)
        if not pa.types.is_struct(column.type) or column.type.get_field_index("bytes") < 0:
            raise DataError(f"'{name}' of {self._where} holds {column.type}, not images")
        encoded = column.field("bytes").to_pylist()
        if None in encoded:
            raise DataError(
                f"'{name}' of {self._where} names image files instead of holding them; embed "
                "them with lerobot's own writer"
            )
        return encoded

    def _column(self, name: str) -> pa.Array:
        if name not in self:
            raise DataError(
                f"{self._where} has no column '{name}'; it has {self._table.column_names}"
            )
        column = self._table[name].combine_chunks()
        return column.storage if isinstance(column, pa.ExtensionArray) else column
