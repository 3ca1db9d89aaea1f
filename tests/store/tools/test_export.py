"""Exports are plain LeRobotDatasets; benchmarks/with_lerobot/reads.sh asks the real lerobot."""

from __future__ import annotations

import json
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from silri.core.errors import DataError, MissingExtraError, SpecError, UsageError
from silri.core.specs import ActionSpec, ArraySpec, EnvSpec
from silri.store.dataset import read_dataset
from silri.store.format.layout import DATA_PATH, file_path
from silri.store.store import EpisodeStore
from silri.store.tools import export as module
from silri.store.tools.export import export
from silri.store.tools.survey import Place
from tests.data.episodes import make_episode
from tests.store.foreign import picture
from tests.store.safety.test_recovery import flip_inside
from tests.store.scenarios import episode, fill

EYE = EnvSpec("eye", {"images.front": ArraySpec((16, 16, 3), "uint8")}, ActionSpec(2), 10)


@pytest.mark.parametrize("size", [10, 10**9])
def test_an_export_is_plain_and_complete(tmp_path, monkeypatch, size):
    monkeypatch.setattr(module, "_FILE_SIZE", size)
    fill(tmp_path, 4)
    assert export(Place.of(tmp_path), tmp_path / "out") == 4
    info = json.loads((tmp_path / "out/meta/info.json").read_text())
    assert "silri_format" not in info
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (4, 18, 2)
    assert info["features"]["complementary_info.discrete_penalty"]["dtype"] == "float32"
    paths = sorted((tmp_path / "out/data").rglob("*.parquet"))
    assert len(paths) == (4 if size == 10 else 1)
    table = pq.read_table(paths)
    assert set(table.column_names) == set(info["features"])
    assert not any("policy" in name or "human" in name for name in table.column_names)
    assert table["index"].to_pylist() == list(range(18))
    assert table["episode_index"].to_pylist() == [0] * 4 + [1] * 6 + [2] * 3 + [3] * 5
    rows = pq.read_table(tmp_path / "out/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [row["data/file_index"] for row in rows] == ([0, 1, 2, 3] if size == 10 else [0] * 4)
    assert [row["dataset_from_index"] for row in rows] == [0, 4, 10, 13]
    for number, one in enumerate(read_dataset(tmp_path / "out", demonstrations=False)):
        whole = episode(number)
        kept = len(one)  # one less where it ran out of time
        assert kept == len(whole) - (not whole.success)
        for name in ("action", "reward", "is_intervention", "grasp_penalty"):
            np.testing.assert_array_equal(one.frames[name], whole.frames[name][:kept])
        for key, values in whole.observations.items():
            np.testing.assert_array_equal(one.observations[key][:kept], values[:kept])
        assert (one.task, one.success) == (whole.task, whole.success)


def test_only_some(tmp_path):
    fill(tmp_path, 4)
    for only, expected in (("success", [0, 2]), ("demos", [0, 1]), ("interventions", [2, 3])):
        assert export(Place.of(tmp_path), tmp_path / only, only=only) == 2
        for one, number in zip(read_dataset(tmp_path / only), expected, strict=True):
            assert one.observations["state"][0, 0] == 1000 * number
    with EpisodeStore(tmp_path / "none", tmp_path / "q", EYE) as store:
        store.commit(make_episode(EYE, 0, terminated=False))
    with pytest.raises(DataError, match=r"no episode to export \(--only success\)"):
        export(Place.of(tmp_path / "none"), tmp_path / "out", only="success")
    assert not (tmp_path / "out").exists()


def test_videos(tmp_path, monkeypatch):
    pytest.importorskip("av")
    with EpisodeStore(tmp_path / "e", tmp_path / "q", EYE) as store:
        for number in range(2):
            one = make_episode(EYE, number, 4)
            frames = [picture(number, step) for step in range(5)]
            one.observations["images.front"] = np.stack(frames)
            store.commit(one)
    assert export(Place.of(tmp_path / "e"), tmp_path / "out", video=True) == 2
    info = json.loads((tmp_path / "out/meta/info.json").read_text())
    feature = info["features"]["observation.images.front"]
    assert (feature["dtype"], feature["shape"]) == ("video", [16, 16, 3])
    assert feature["info"]["video.codec"] in ("av1", "h264")
    assert (tmp_path / "out/videos/observation.images.front/chunk-000/file-000.mp4").is_file()
    table = pq.read_table(tmp_path / "out" / file_path(DATA_PATH, 0))
    assert "observation.images.front" not in table.column_names
    for number, one in enumerate(read_dataset(tmp_path / "out", EYE)):
        for step in range(4):
            seen = one.observations["images.front"][step].astype(int)
            assert np.abs(seen - picture(number, step)).mean() < 6
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'silri\[video\]'"):
        export(Place.of(tmp_path / "e"), tmp_path / "again", video=True)
    assert not (tmp_path / "again").exists()


def test_a_video_needs_an_even_size(tmp_path):
    pytest.importorskip("av")
    spec = EnvSpec("eye", {"images.front": ArraySpec((15, 16, 3), "uint8")}, ActionSpec(2), 10)
    with EpisodeStore(tmp_path / "e", tmp_path / "q", spec) as store:
        store.commit(make_episode(spec, 0))
    with pytest.raises(SpecError, match="an even height and width, not 15 x 16"):
        export(Place.of(tmp_path / "e"), tmp_path / "out", video=True)


def test_what_cannot_be_exported(tmp_path):
    fill(tmp_path, 2)
    place = Place.of(tmp_path)
    export(place, tmp_path / "out")
    with pytest.raises(UsageError, match="out exists already"):
        export(place, tmp_path / "out")
    with pytest.raises(UsageError, match="is a plain LeRobotDataset already"):
        export(Place.of(tmp_path / "out"), tmp_path / "again")
    flip_inside(tmp_path / "episodes" / file_path(DATA_PATH, 1))
    with pytest.raises(DataError, match=r"episode 1 of .*does not match its checksum"):
        export(place, tmp_path / "again")
    assert not (tmp_path / "again").exists()
