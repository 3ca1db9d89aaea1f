"""Versions of a dataset folder: the first is brought up to date, later ones are left alone."""

from __future__ import annotations

import dataclasses
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from silri.core.errors import DataError
from silri.data.dataset import read_dataset
from silri.data.info import silri_format
from silri.data.layout import DATA_PATH, INFO_PATH, ROW_PATH, file_path, parquet_bytes
from silri.data.sealed import digest, seal, sealed_json
from silri.data.survey import Place, problems
from tests.data.episodes import assert_equal
from tests.data.killing import kill_at_every_write
from tests.data.scenarios import SPEC, broken_episode, episode, fill, open_store
from tests.data.test_store import snapshot


def first_format(folder, count=3):
    """A run folder as the first version of silri left it, with one episode in quarantine."""
    fill(folder, count)
    with open_store(folder) as store:
        store.quarantine(broken_episode(count), "NaN in the state")
    root = folder / "episodes"
    for index in range(count):
        path = root / file_path(DATA_PATH, index)
        table = pq.read_table(path)
        header = json.loads(table.schema.metadata[b"silri"])
        del header["origin"]
        path.write_bytes(
            parquet_bytes(table.replace_schema_metadata({"silri": json.dumps(header)}))
        )
        row_path = root / file_path(ROW_PATH, index)
        (row,) = pq.read_table(row_path).to_pylist()
        del row["origin"], row["sha256"]
        row["data_sha256"] = digest(path.read_bytes())
        columns = {name: [value] for name, value in seal(row).items()}
        row_path.write_bytes(parquet_bytes(pa.Table.from_pydict(columns)))
    info = json.loads((root / INFO_PATH).read_text())
    del info["silri_format"]
    (root / INFO_PATH).write_text(json.dumps(info, indent=1) + "\n")
    for reason in folder.glob("quarantine/*/reason.json"):
        record = json.loads(reason.read_text())
        del record["origin"], record["sha256"]
        reason.write_bytes(sealed_json(record))
    return folder


def test_the_first_format_is_brought_up_to_date_with_a_message(tmp_path):
    first_format(tmp_path)
    before = snapshot(tmp_path)
    for number, one in enumerate(read_dataset(tmp_path / "episodes", SPEC)):
        assert_equal(one, dataclasses.replace(episode(number), origin=""))
    assert problems(Place.of(tmp_path)) == []
    assert snapshot(tmp_path) == before  # reading changes nothing
    with open_store(tmp_path) as store:
        assert [message.split(" brought to silri_format 2")[0] for message in store.messages] == [
            str(tmp_path / "quarantine/episode-000003/reason.json"),
            "3 row files of meta/episodes",
            "meta/info.json",
        ]
        assert store.origins == set()
        assert store.quarantined() == [(3, 5, "NaN in the state", False, "")]
        for number, one in enumerate(store.episodes()):
            assert_equal(one, dataclasses.replace(episode(number), origin=""))
        sent = dataclasses.replace(episode(4), origin="robot-1/9f3a:4")
        store.commit(sent)
    assert silri_format(tmp_path / "episodes") == 2
    with open_store(tmp_path) as store:
        assert store.messages == []
        assert store.origins == {"robot-1/9f3a:4"}
    schemas = [
        pq.read_schema(path)
        for path in sorted((tmp_path / "episodes/meta/episodes").rglob("*.parquet"))
    ]
    assert all(schema.equals(schemas[0]) for schema in schemas)  # LeRobot reads them as one table


def test_killed_at_every_write_of_bringing_it_up_to_date(tmp_path):
    template = first_format(tmp_path / "template", 2)
    calls = kill_at_every_write("tests.data.scenarios:reopen", template, tmp_path / "runs")
    whole = snapshot(tmp_path / "runs/0")
    for number in range(1, len(calls) + 1):
        folder = tmp_path / "runs" / str(number)
        open_store(folder).close()
        assert snapshot(folder) == whole, calls[number - 1]


def test_a_later_format_is_refused_before_anything_is_written(tmp_path):
    fill(tmp_path, 2)
    root = tmp_path / "episodes"
    info = json.loads((root / INFO_PATH).read_text())
    (root / INFO_PATH).write_text(json.dumps({**info, "silri_format": 3}))
    (root / file_path(ROW_PATH, 1)).write_bytes(b"a row of the future")
    before = snapshot(tmp_path)
    for read in (lambda: open_store(tmp_path), lambda: read_dataset(root)):
        with pytest.raises(DataError, match=r"has silri_format 3 in meta/info.json; this silri"):
            read()
    assert snapshot(tmp_path) == before
    (root / INFO_PATH).write_text(json.dumps({**info, "silri_format": "x"}))  # damaged: rebuilt
    open_store(tmp_path).close()
    assert silri_format(root) == 2


def test_another_programs_dataset_is_left_alone(tmp_path):
    root = tmp_path / "episodes"
    (root / "meta/episodes/chunk-000").mkdir(parents=True)
    features = {"action": {"dtype": "float32", "shape": [2], "names": None}}
    (root / INFO_PATH).write_text(json.dumps({"codebase_version": "v3.0", "features": features}))
    (root / file_path(ROW_PATH, 0)).write_bytes(b"not one of our rows")
    before = snapshot(tmp_path)
    with pytest.raises(DataError, match="a dataset that silri did not record"):
        open_store(tmp_path)
    assert snapshot(tmp_path) == before
