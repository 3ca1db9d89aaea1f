from __future__ import annotations

import gzip
import json
import os

import pytest

from silri.bench.records import (
    Fields,
    Record,
    read_records,
    read_table,
    write_table,
)
from silri.core.errors import ConfigError, DataError, UsageError

RECORD = Record(
    Fields("summary", {"completed": True, "seed": 3}),
    Fields("disturbance", {"rows": {}}),
    Fields("config", {"format": 9, "run": {"seed": 3}}),
)


def contents(records):
    parts = ("summary", "disturbance", "config")
    return {
        name: [None if (one := getattr(record, part)) is None else one.data for part in parts]
        for name, record in records.items()
    }


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "folder" / "small.jsonl.gz"
    write_table(path, {"b": RECORD, "a": Record(RECORD.summary, None, None)})
    return path


def rewrite(table, edit):
    rows = [json.loads(line) for line in gzip.decompress(table.read_bytes()).splitlines()]
    rows = edit(rows)
    table.write_bytes(gzip.compress("\n".join(json.dumps(row) for row in rows).encode()))


def test_a_table_gives_back_what_was_written(table):
    summary = RECORD.summary.data
    assert contents(read_table(table)) == {
        "a": [summary, None, None],
        "b": [summary, RECORD.disturbance.data, RECORD.config.data],
    }
    assert read_records(table, ["b", "c"]).keys() == {"b"}


def test_the_same_records_give_the_same_bytes_in_any_order(table, tmp_path):
    before = table.read_bytes()
    os.utime(table, (1, 1))
    other = tmp_path / "other.jsonl.gz"
    write_table(other, dict(reversed(read_table(table).items())))
    assert other.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", gzip.compress(b"{"), gzip.compress(b"x" * 99)[:-9]],
    ids=["empty", "not gzip", "not JSON", "cut"],
)
def test_what_is_no_table_is_named(table, content):
    table.write_bytes(content)
    if content == b"":  # an empty gzip stream is an empty table
        assert read_table(table) == {}
        return
    with pytest.raises(DataError, match=r"small\.jsonl\.gz is no table of results"):
        read_table(table)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda rows: [{**rows[0], "summary": None}], "a has no summary"),
        (lambda rows: [{**rows[0], "config": []}], "a: config is no object"),
        (lambda rows: [{"version": 1}], "row 1 has no 'cell'"),
        (lambda rows: [3], "row 1 has no 'cell'"),
    ],
)
def test_damaged_rows_are_named(table, edit, words):
    rewrite(table, edit)
    with pytest.raises(DataError, match=words):
        read_table(table)


def test_a_later_version_is_refused_by_its_number(table):
    rewrite(table, lambda rows: [{**row, "version": 2} for row in rows])
    with pytest.raises(ConfigError, match="a has version 2; this version of silri reads 1"):
        read_table(table)


def test_a_source_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match="there is no folder or table .*none"):
        read_records(tmp_path / "none", ["a"])
