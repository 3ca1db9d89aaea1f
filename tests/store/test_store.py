from __future__ import annotations

import dataclasses
import io
import json
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from silri.core.errors import DataError, NonFiniteError, RunFolderError, SpecError
from silri.core.specs import ActionSpec, ArraySpec, EnvSpec
from silri.store.dataset import read_dataset
from silri.store.format import layout, rows
from silri.store.format.layout import DATA_PATH, ROW_PATH, file_path
from silri.store.safety import recovery
from silri.store.store import EpisodeStore
from tests.data.episodes import assert_equal, make_episode
from tests.store.killing import ROOT
from tests.store.scenarios import DIAGNOSTICS, SPEC, broken_episode, episode, fill, open_store

WIDE = EnvSpec(
    name="wide",
    observation={
        "state": ArraySpec((4,)),
        "one": ArraySpec((1,)),
        "scalar": ArraySpec(()),
        "matrix": ArraySpec((2, 3)),
        "double": ArraySpec((2,), "float64"),
    },
    action=ActionSpec(1),
    max_episode_steps=10,
    control_hz=12.5,
)


@pytest.mark.parametrize("steps", [1, 7])
def test_everything_comes_back_bit_for_bit(tmp_path, steps):
    with EpisodeStore(tmp_path / "e", tmp_path / "q", WIDE, ("declared", "a/b")) as store:
        committed = [
            make_episode(WIDE, 0, steps, is_demo=True, task="été ☀", operator="a person"),
            make_episode(WIDE, 1, steps, diagnostics=("declared", "undeclared/x"), seed=2**40),
            make_episode(WIDE, 2, steps, terminated=False),
        ]
        # NaN payloads and negative zero are bits too.
        payload = np.array([0x7FC01234, 0x80000000], np.uint32).view(np.float32)
        committed[1].diagnostics["declared"][0] = payload[0]
        committed[1].frames["grasp_penalty"][0] = payload[1]
        for one in committed:
            store.commit(one)
        for index, one in enumerate(committed):
            assert_equal(store.read(index), one)
    with EpisodeStore(tmp_path / "e", tmp_path / "q", WIDE, ("declared", "a/b")) as store:
        assert store.messages == []
        assert [row.is_demo for row in store.rows] == [True, False, False]
        for index, one in enumerate(store.episodes()):
            assert_equal(one, committed[index])
            assert one.frames["action"].flags.writeable


def test_layout_is_lerobots(tmp_path):
    fill(tmp_path, 4)
    root = tmp_path / "episodes"
    info = json.loads((root / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (4, 18, 2)
    assert info["fps"] == 10
    assert info["features"]["action"] == {"dtype": "float32", "shape": [3], "names": None}
    assert info["features"]["next.done"] == {"dtype": "bool", "shape": [1], "names": None}
    table = pq.read_table(root / "data/chunk-000/file-003.parquet")
    assert set(table.column_names) == set(info["features"])
    assert table["index"].to_pylist() == [13, 14, 15, 16, 17]
    assert table["episode_index"].to_pylist() == [3] * 5
    assert table["task_index"].to_pylist() == [1] * 5
    assert table["next.done"].to_pylist() == [False] * 4 + [True]
    assert table["next.truncated"].to_pylist() == [False] * 4 + [True]
    assert table["next.success"].to_pylist() == [False] * 5
    assert table["intervention"].to_pylist() == [True, False, True, False, True]
    assert table["timestamp"].to_pylist() == np.float32([0, 0.1, 0.2, 0.3, 0.4]).tolist()
    row = pq.read_table(root / "meta/episodes/chunk-000/file-003.parquet").to_pylist()[0]
    final = episode(3).observations["state"][-1]
    assert row["final_observation.state"] == final.tolist()
    assert (row["dataset_from_index"], row["dataset_to_index"], row["length"]) == (13, 18, 5)
    assert row["tasks"] == ["reach the goal"]
    stats = json.loads((root / "meta/stats.json").read_text())
    assert stats["action"]["count"] == [18]
    schemas = [pq.read_schema(path) for path in sorted((root / "meta/episodes").rglob("*.parquet"))]
    assert all(schema.equals(schemas[0]) for schema in schemas)  # LeRobot reads them as one table


def test_later_chunks(tmp_path, monkeypatch):
    for module in (layout, recovery, rows):
        monkeypatch.setattr(module, "FILES_PER_CHUNK", 2)
    fill(tmp_path, 4)
    assert (tmp_path / "episodes/data/chunk-001/file-001.parquet").exists()
    with open_store(tmp_path) as store:
        assert store.messages == []
        assert_equal(store.read(3), episode(3))


def test_episode_ids_count_quarantined_episodes(tmp_path):
    fill(tmp_path, 2)
    with open_store(tmp_path) as store:
        place = store.quarantine(broken_episode(2), "NaN in the state")
        assert json.loads((place / "reason.json").read_text())["reason"] == "NaN in the state"
        assert store.next_episode_id == 3
        store.commit(episode(3))
    with open_store(tmp_path) as store:
        assert [row.episode_id for row in store.rows] == [0, 1, 3]
        assert [row.episode_index for row in store.rows] == [0, 1, 2]
        assert store.quarantined() == [(2, 3, "NaN in the state", False, "")]
        assert store.next_episode_id == 4
        assert store.messages == []
        table = pq.read_table(tmp_path / "episodes" / file_path(DATA_PATH, 2))
        assert table["episode_index"].to_pylist()[0] == 2
    kept = pq.read_table(tmp_path / "quarantine/episode-000002/data.parquet")
    assert np.isnan(kept["observation.state"].to_pylist()[1][0])


def test_what_does_not_fit_is_refused_and_nothing_is_written(tmp_path):
    fill(tmp_path, 2)
    before = snapshot(tmp_path)
    with open_store(tmp_path) as store:
        with pytest.raises(NonFiniteError, match=r"'observation.state' of episode 2.*row 1"):
            store.commit(broken_episode(2))
        with pytest.raises(DataError, match="episode_id 0 does not follow.*expect 2"):
            store.commit(dataclasses.replace(episode(2), episode_id=0))
        with pytest.raises(DataError, match="expect 2"):
            store.quarantine(dataclasses.replace(episode(2), episode_id=1), "twice")
        with pytest.raises(SpecError, match=r"'observation.state' of episode 2 is float32\(4, 4\)"):
            store.commit(
                make_episode(
                    dataclasses.replace(
                        SPEC,
                        observation={
                            "state": ArraySpec((4,)),
                            "environment_state": ArraySpec((2,)),
                            "images.front": ArraySpec((6, 5, 3), "uint8"),
                        },
                    ),
                    2,
                    3,
                )
            )
        surplus = episode(2)
        surplus.observations["other"] = surplus.observations["state"]
        with pytest.raises(SpecError, match="has columns"):
            store.commit(surplus)
        clash = dataclasses.replace(
            episode(2), diagnostics={"a/b": np.zeros(3, np.float32), "a.b": np.zeros(3, np.float32)}
        )
        with pytest.raises(SpecError, match="same name"):
            store.commit(clash)
        with pytest.raises(DataError, match="no episode 2"):
            store.read(2)
    assert snapshot(tmp_path) == before


def test_images_are_lerobots(tmp_path):
    spec = EnvSpec(
        "eye",
        {
            "images.front": ArraySpec((8, 6, 3), "uint8"),
            "images.wrist": ArraySpec((5, 7, 1), "uint8"),
            "state": ArraySpec((2,)),
        },
        ActionSpec(2),
        10,
    )
    committed = [make_episode(spec, 0, 9), make_episode(spec, 1, 1)]
    with EpisodeStore(tmp_path / "e", tmp_path / "q", spec) as store:
        for one in committed:
            store.commit(one)
    with EpisodeStore(tmp_path / "e", tmp_path / "q", spec) as store:
        assert store.messages == []
        for index, one in enumerate(committed):
            assert_equal(store.read(index), one)
            assert store.read(index).observations["images.front"].flags.writeable
    for index, one in enumerate(read_dataset(tmp_path / "e", spec)):
        assert_equal(one, committed[index])
    info = json.loads((tmp_path / "e/meta/info.json").read_text())
    names = ["height", "width", "channels"]
    assert info["features"]["observation.images.front"] == {
        "dtype": "image",
        "shape": [8, 6, 3],
        "names": names,
    }
    table = pq.read_table(tmp_path / "e" / file_path(DATA_PATH, 0))
    column = table["observation.images.wrist"]
    assert str(column.type) == "struct<bytes: binary, path: string>"
    first = Image.open(io.BytesIO(column.to_pylist()[0]["bytes"]))
    assert (first.format, first.mode, first.size) == ("PNG", "L", (7, 5))
    stats = json.loads((tmp_path / "e/meta/stats.json").read_text())["observation.images.front"]
    assert np.shape(stats["mean"]) == (3, 1, 1)
    assert stats["count"] == [10]
    changed = {**spec.observation, "images.front": ArraySpec((6, 8, 3), "uint8")}
    other = dataclasses.replace(spec, observation=changed)
    with pytest.raises(DataError, match=r"'observation.images.front' has shape \[8, 6, 3\] in"):
        EpisodeStore(tmp_path / "e", tmp_path / "q", other)


@pytest.mark.parametrize("shape", [(4,), (8, 8), (3, 8, 8), (8, 8, 4)])
def test_other_uint8_has_no_place(tmp_path, shape):
    spec = EnvSpec("eye", {"images.front": ArraySpec(shape, "uint8")}, ActionSpec(2), 10)
    with pytest.raises(SpecError, match=r"'observation.images.front' of eye is uint8 with shape"):
        EpisodeStore(tmp_path / "e", tmp_path / "q", spec)
    assert not (tmp_path / "e").exists()


def test_another_environments_folder_is_refused_untouched(tmp_path):
    fill(tmp_path, 2)
    before = snapshot(tmp_path)
    for spec, name in (
        (dataclasses.replace(SPEC, action=ActionSpec(4)), "'action' has shape"),
        (dataclasses.replace(SPEC, observation={"state": ArraySpec((3,))}), "environment_state"),
    ):
        with pytest.raises(DataError, match=name):
            EpisodeStore(tmp_path / "episodes", tmp_path / "quarantine", spec)
    assert snapshot(tmp_path) == before
    open_store(tmp_path).close()  # and the lock was let go


def test_two_writers_are_refused(tmp_path):
    fill(tmp_path, 1)
    with open_store(tmp_path), pytest.raises(RunFolderError, match="in use by process"):
        open_store(tmp_path)
    script = (
        "import sys, time; from pathlib import Path; from tests.store.scenarios import open_store\n"
        "store = open_store(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        stdout=subprocess.PIPE,
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(RunFolderError, match=f"in use by process {other.pid}; "):
            open_store(tmp_path)
    finally:
        other.kill()
        other.communicate()
    open_store(tmp_path).close()  # a dead writer holds nothing


def test_a_flipped_bit_anywhere_in_a_row_is_noticed_or_harmless(tmp_path):
    fill(tmp_path, 1)
    content = (tmp_path / "episodes" / file_path(ROW_PATH, 0)).read_bytes()
    truth = repr(rows.decode_row(content, "row"))
    noticed = 0
    for position in range(0, len(content), 37):
        damaged = bytearray(content)
        damaged[position] ^= 1 << (position % 8)
        try:
            assert repr(rows.decode_row(bytes(damaged), "row")) == truth
        except DataError:
            noticed += 1
    assert noticed > 30


def snapshot(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def test_declared_diagnostics_are_in_every_file(tmp_path):
    fill(tmp_path, 3)
    for index in range(3):
        table = pq.read_table(tmp_path / "episodes" / file_path(DATA_PATH, index))
        for name in DIAGNOSTICS:
            column = table[f"complementary_info.diagnostics.{name.replace('/', '.')}"]
            assert (column.to_numpy() == 0).all() == (index < 2)  # absent, and no NaN
    with open_store(tmp_path) as store:
        assert store.read(0).diagnostics == {}
        assert store.read(2).diagnostics.keys() == set(DIAGNOSTICS)


def test_origins_are_known_at_once_and_after_opening_again(tmp_path):
    fill(tmp_path, 4)  # episodes 1 and 3 were sent by a robot
    with open_store(tmp_path) as store:
        assert store.origins == {"robot-1/9f3a:1", "robot-1/9f3a:3"}
        assert [row.origin for row in store.rows] == ["", "robot-1/9f3a:1", "", "robot-1/9f3a:3"]
        with pytest.raises(DataError, match="from robot-1/9f3a:3 is in .* already"):
            store.commit(dataclasses.replace(episode(4), origin="robot-1/9f3a:3"))
        store.commit(dataclasses.replace(episode(4), origin="robot-2/0:0"))
        assert "robot-2/0:0" in store.origins
        store.quarantine(broken_episode(5), "NaN")
        assert "robot-1/9f3a:5" in store.origins
        with pytest.raises(DataError, match="already"):
            store.quarantine(dataclasses.replace(broken_episode(6), origin="robot-2/0:0"), "again")
    everything = {"robot-1/9f3a:1", "robot-1/9f3a:3", "robot-2/0:0", "robot-1/9f3a:5"}
    # Damage sets episode 1 aside and renumbers those after it; its origin stays taken.
    (tmp_path / "episodes" / file_path(DATA_PATH, 1)).write_bytes(b"")
    for _ in range(2):
        with open_store(tmp_path) as store:
            assert store.origins == everything
            assert [row.origin for row in store.rows] == ["", "", "robot-1/9f3a:3", "robot-2/0:0"]
            assert [one.origin for one in store.episodes()] == [row.origin for row in store.rows]
            assert [entry.origin for entry in store.quarantined()] == [
                "robot-1/9f3a:1",
                "robot-1/9f3a:5",
            ]


def test_a_lost_row_leaves_the_origin_in_the_frames(tmp_path):
    fill(tmp_path, 3)
    (tmp_path / "episodes" / file_path(ROW_PATH, 1)).unlink()
    with open_store(tmp_path) as store:
        assert [entry.origin for entry in store.quarantined()] == ["robot-1/9f3a:1"]
        assert store.origins == {"robot-1/9f3a:1"}


def test_a_folder_keeps_the_rate_it_began_with(tmp_path):
    """Older versions said 10 frames per second, whatever the loop kept."""
    fill(tmp_path, 2)
    faster = dataclasses.replace(SPEC, control_hz=40.0)
    with EpisodeStore(tmp_path / "episodes", tmp_path / "q", faster, DIAGNOSTICS) as store:
        assert store.spec.control_hz == 10.0
        assert "goes on at 10 frames per second, as it began" in store.messages[-1]
        assert "40 decisions per second now" in store.messages[-1]
        store.commit(episode(2))
    assert json.loads((tmp_path / "episodes" / layout.INFO_PATH).read_text())["fps"] == 10
    for index in range(3):
        table = pq.read_table(tmp_path / "episodes" / file_path(DATA_PATH, index))
        np.testing.assert_allclose(np.diff(table["timestamp"].to_numpy()), 0.1, rtol=1e-5)


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_without_info_json_the_frames_say_the_rate(tmp_path, damage):
    fill(tmp_path, 2)
    info = tmp_path / "episodes" / layout.INFO_PATH
    before = info.read_bytes()
    if damage == "missing":
        info.unlink()
    else:
        info.write_bytes(before.replace(b'"fps": 10', b'"fps": 25'))
    faster = dataclasses.replace(SPEC, control_hz=40.0)
    with EpisodeStore(tmp_path / "episodes", tmp_path / "q", faster, DIAGNOSTICS) as store:
        assert store.spec.control_hz == 10.0
    assert info.read_bytes() == before


def test_a_new_folder_has_the_environments_rate(tmp_path):
    faster = dataclasses.replace(SPEC, control_hz=40.0)
    for _ in range(2):  # the second time there is a folder without an episode
        with EpisodeStore(tmp_path / "e", tmp_path / "q", faster) as store:
            assert (store.spec.control_hz, store.messages) == (40.0, [])
    with EpisodeStore(tmp_path / "e", tmp_path / "q", faster) as store:
        store.commit(episode(0))
    assert json.loads((tmp_path / "e" / layout.INFO_PATH).read_text())["fps"] == 40
