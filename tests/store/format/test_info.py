"""Versions of a dataset folder: the first is brought up to date, later ones are left alone."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from silri.core.errors import DataError
from silri.store.dataset import read_dataset
from silri.store.format.info import silri_format
from silri.store.format.layout import DATA_PATH, INFO_PATH, ROW_PATH, file_path, parquet_bytes
from silri.store.format.sealed import digest, seal, sealed_json
from silri.store.tools.survey import Place, problems
from tests.data.episodes import assert_equal
from tests.store.foreign import columns, write_lerobot
from tests.store.killing import kill_at_every_write
from tests.store.scenarios import SPEC, broken_episode, episode, fill, open_store
from tests.store.test_store import snapshot

_VERSION = "silri_format"


def rewritten(folder, change_table, change_row, change_info):
    """The data files, row files and info.json of a folder, as an earlier version wrote them."""
    root = folder / "episodes"
    for row_path in sorted((root / "meta/episodes").rglob("*.parquet")):
        (row,) = pq.read_table(row_path).to_pylist()
        path = root / file_path(DATA_PATH, row["episode_index"])
        path.write_bytes(parquet_bytes(change_table(pq.read_table(path))))
        del row["sha256"]
        row = change_row(row) | {"data_sha256": digest(path.read_bytes())}
        columns = {name: [value] for name, value in seal(row).items()}
        row_path.write_bytes(parquet_bytes(pa.Table.from_pydict(columns)))
    info = json.loads((root / INFO_PATH).read_text())
    del info["sha256"]
    content = json.dumps(change_info(info), indent=1) + "\n"
    (root / INFO_PATH).write_text(content)
    return folder


def with_header(table, change):
    header = json.loads(table.schema.metadata[b"silri"])
    return table.replace_schema_metadata({"silri": json.dumps(change(header))})


def second_format(folder, count=3):
    """A run folder as the second version left it: NaN where nothing was said, few statistics."""

    def with_nan(table):
        for place, field in enumerate(table.schema):
            said = json.loads(field.metadata[b"silri"])
            runs = said.pop("unset", [])
            runs = [[0, len(table)]] if said.get("absent") else runs
            if runs:
                column = table.column(place).combine_chunks()
                listed = pa.types.is_fixed_size_list(column.type)
                flat = (column.flatten() if listed else column).to_numpy().copy()
                width = column.type.list_size if listed else 1
                for first, end in runs:
                    flat[first * width : end * width] = np.nan
                made = pa.array(flat)
                made = pa.FixedSizeListArray.from_arrays(made, width) if listed else made
                meta = {"silri": json.dumps(said)}
                table = table.set_column(
                    place, pa.field(field.name, made.type, metadata=meta), made
                )
        return with_header(table, lambda header: {k: header[k] for k in header if k != _VERSION})

    def few(row):
        known = ("stats/observation.", "stats/action/", "stats/next.reward/")
        return {k: v for k, v in row.items() if not k.startswith("stats/") or k.startswith(known)}

    fill(folder, count)
    stats = folder / "episodes/meta/stats.json"
    rewritten(folder, with_nan, few, lambda info: seal(info | {_VERSION: 2}))
    known = json.loads(stats.read_text())
    few_columns = ("observation.", "action", "next.reward")
    kept = {k: v for k, v in known.items() if k.startswith(few_columns)}
    stats.write_text(json.dumps(kept, indent=1) + "\n")
    return folder


def first_format(folder, count=3):
    """A run folder as the first version of silri left it, with one episode in quarantine."""

    def without(names):
        return lambda record: {k: v for k, v in record.items() if k not in names}

    second_format(folder, count)
    rewritten(
        folder,
        lambda table: with_header(table, without(["origin"])),
        without(["origin"]),
        without([_VERSION]),
    )
    before = {path: path.read_bytes() for path in (folder / "episodes").rglob("*.*")}
    with open_store(folder) as store:
        store.quarantine(broken_episode(count), "NaN in the state")
    for path, content in before.items():  # opening has brought them up to date
        path.write_bytes(content)
    for reason in folder.glob("quarantine/*/reason.json"):
        record = json.loads(reason.read_text())
        del record["origin"], record["sha256"]
        reason.write_bytes(sealed_json(record))
    return folder


def columns_with_nan(folder):
    """Names of the columns of data files that have one."""
    found = set()
    for path in sorted((folder / "episodes/data").rglob("*.parquet")):
        for name, column in zip((t := pq.read_table(path)).column_names, t.columns, strict=True):
            flat = column.combine_chunks()
            flat = flat.flatten() if pa.types.is_fixed_size_list(flat.type) else flat
            if pa.types.is_floating(flat.type) and np.isnan(flat.to_numpy()).any():
                found.add(name)
    return found


def test_the_second_format_is_brought_up_to_date_and_says_the_same(tmp_path):
    second_format(tmp_path / "old", 4)
    said = {f"complementary_info.diagnostics.silri.{name}" for name in ("lambda", "bound")}
    assert columns_with_nan(tmp_path / "old") == said | {"complementary_info.human_action"}
    root = tmp_path / "old" / "episodes"
    before = snapshot(tmp_path / "old")
    for number, one in enumerate(read_dataset(root, SPEC)):
        assert_equal(one, episode(number))
    assert problems(Place.of(tmp_path / "old")) == []
    assert snapshot(tmp_path / "old") == before  # reading changes nothing
    with open_store(tmp_path / "old") as store:
        assert [text.partition(" brought to silri_format 3")[0] for text in store.messages] == [
            "4 data files",
            "meta/stats.json",
            "meta/info.json",
        ]
        for number, one in enumerate(store.episodes()):
            assert_equal(one, episode(number))
    assert columns_with_nan(tmp_path / "old") == set()
    features = json.loads((root / INFO_PATH).read_text())["features"]
    assert json.loads((root / "meta/stats.json").read_text()).keys() == features.keys()
    fill(tmp_path / "new", 4)
    assert snapshot(tmp_path / "old") == snapshot(tmp_path / "new")  # to the last byte


@pytest.mark.slow
def test_killed_at_every_write_of_leaving_the_second_format(tmp_path):
    template = second_format(tmp_path / "template", 2)
    calls = kill_at_every_write("tests.store.scenarios:reopen", template, tmp_path / "runs")
    whole = snapshot(tmp_path / "runs/0")
    for number in range(1, len(calls) + 1):
        folder = tmp_path / "runs" / str(number)
        for index, one in enumerate(read_dataset(folder / "episodes", SPEC)):
            assert_equal(one, episode(index))
        open_store(folder).close()
        assert snapshot(folder) == whole, calls[number - 1]


def test_the_first_format_is_brought_up_to_date_with_a_message(tmp_path):
    first_format(tmp_path)
    before = snapshot(tmp_path)
    for number, one in enumerate(read_dataset(tmp_path / "episodes", SPEC)):
        assert_equal(one, dataclasses.replace(episode(number), origin=""))
    assert problems(Place.of(tmp_path)) == []
    assert snapshot(tmp_path) == before  # reading changes nothing
    with open_store(tmp_path) as store:
        assert [message.split(" brought to silri_format 3")[0] for message in store.messages] == [
            str(tmp_path / "quarantine/episode-000003/reason.json"),
            "3 row files of meta/episodes",
            "3 data files",
            "meta/stats.json",
            "meta/info.json",
        ]
        assert store.origins == set()
        assert store.quarantined() == [(3, 5, "NaN in the state", False, "")]
        for number, one in enumerate(store.episodes()):
            assert_equal(one, dataclasses.replace(episode(number), origin=""))
        sent = dataclasses.replace(episode(4), origin="robot-1/9f3a:4")
        store.commit(sent)
    assert silri_format(tmp_path / "episodes") == 3
    with open_store(tmp_path) as store:
        assert store.messages == []
        assert store.origins == {"robot-1/9f3a:4"}
    schemas = [
        pq.read_schema(path)
        for path in sorted((tmp_path / "episodes/meta/episodes").rglob("*.parquet"))
    ]
    assert all(schema.equals(schemas[0]) for schema in schemas)  # LeRobot reads them as one table


@pytest.mark.slow
def test_killed_at_every_write_of_bringing_it_up_to_date(tmp_path):
    template = first_format(tmp_path / "template", 1)
    calls = kill_at_every_write("tests.store.scenarios:reopen", template, tmp_path / "runs")
    whole = snapshot(tmp_path / "runs/0")
    for number in range(1, len(calls) + 1):
        folder = tmp_path / "runs" / str(number)
        open_store(folder).close()
        assert snapshot(folder) == whole, calls[number - 1]


def test_a_later_format_is_refused_before_anything_is_written(tmp_path):
    fill(tmp_path, 2)
    root = tmp_path / "episodes"
    info = json.loads((root / INFO_PATH).read_text())
    (root / INFO_PATH).write_text(json.dumps({**info, "silri_format": 4}))
    (root / file_path(ROW_PATH, 1)).write_bytes(b"a row of the future")
    before = snapshot(tmp_path)
    for read in (lambda: open_store(tmp_path), lambda: read_dataset(root)):
        with pytest.raises(DataError, match=r"has silri_format 4 in meta/info.json; this silri"):
            read()
    assert snapshot(tmp_path) == before
    (root / INFO_PATH).write_text(json.dumps({**info, "silri_format": "x"}))  # damaged: rebuilt
    open_store(tmp_path).close()
    assert silri_format(root) == 3


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


@pytest.mark.parametrize("damage", ['{"codebase_version"', "[]", "{}", '{"features": null}', None])
def test_another_programs_dataset_with_a_damaged_info_is_left_alone(tmp_path, damage):
    """Its columns say whose it is; taken for ours, every episode would be set aside."""
    root = write_lerobot(tmp_path / "episodes", columns())
    (root / INFO_PATH).unlink() if damage is None else (root / INFO_PATH).write_text(damage)
    before = snapshot(tmp_path)
    with pytest.raises(DataError, match="a dataset that silri did not record"):
        open_store(tmp_path)
    with pytest.raises(DataError, match=r"meta/info\.json"):
        read_dataset(root)
    assert snapshot(tmp_path) == before
