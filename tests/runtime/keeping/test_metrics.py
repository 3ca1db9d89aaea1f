from __future__ import annotations

import json

import pytest

from silri.core.events import (
    CheckpointSaved,
    EpisodeFinished,
    EpisodeQuarantined,
    Evaluated,
    LearnerUpdated,
    Notice,
)
from silri.runtime.keeping.metrics import MetricsWriter


@pytest.fixture
def open_writer(tmp_path):
    """Opens ``metrics.jsonl``, as often as a test likes; the clock says 1.5."""
    writers = []

    def start(**keywords):
        arguments = {"tensorboard": None, "wall_s": lambda: 1.5} | keywords
        writers.append(MetricsWriter(tmp_path / "metrics.jsonl", **arguments))
        return writers[-1]

    yield start
    for writer in writers:
        writer.close()


def rows(tmp_path):
    return [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]


def test_one_object_per_event(tmp_path, open_writer):
    writer = open_writer()
    writer.on_event(LearnerUpdated(3, {"critic/loss": 0.5}))
    writer.on_event(EpisodeFinished(4, 7, {"length": 4.0}))
    writer.on_event(Evaluated(4, {"success_rate": 1.0}))
    writer.on_event(EpisodeQuarantined(5, 8, "NaN"))
    writer.on_event(CheckpointSaved(5, "somewhere"))
    writer.on_event(Notice(5, "hello"))
    assert rows(tmp_path) == [
        {"step": 3, "wall_s": 1.5, "critic/loss": 0.5},
        {"step": 4, "wall_s": 1.5, "episode/length": 4.0, "episode/id": 7.0},
        {"step": 4, "wall_s": 1.5, "evaluation/success_rate": 1.0},
        {"step": 5, "wall_s": 1.5, "quarantine/id": 8.0},
    ]
    assert writer.rows == 4


def test_a_line_is_on_disk_at_once(tmp_path, open_writer):
    writer = open_writer()
    writer.on_event(LearnerUpdated(1, {"a": 1.0}))
    assert len(rows(tmp_path)) == 1


def test_what_json_cannot_hold_is_left_out(tmp_path, open_writer):
    nan, inf = float("nan"), float("inf")
    open_writer().on_event(LearnerUpdated(1, {"a": nan, "b": inf, "c": 2.0}))
    assert rows(tmp_path) == [{"step": 1, "wall_s": 1.5, "c": 2.0}]


def test_a_resumed_run_drops_what_will_come_again(tmp_path, open_writer):
    writer = open_writer()
    for step in (1, 2, 2, 3):
        writer.on_event(LearnerUpdated(step, {"a": float(writer.rows)}))
    again = open_writer(resume_step=2, resume_rows=2)
    assert [row["a"] for row in rows(tmp_path)] == [0.0, 1.0]
    again.on_event(LearnerUpdated(2, {"a": 9.0}))
    assert [row["a"] for row in rows(tmp_path)] == [0.0, 1.0, 9.0]
    assert again.rows == 3


def test_a_torn_line_is_dropped(tmp_path, open_writer):
    writer = open_writer()
    for step in (1, 2):
        writer.on_event(LearnerUpdated(step, {"a": 1.0}))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "wal')
    open_writer(resume_step=2, resume_rows=2).on_event(LearnerUpdated(3, {"a": 3.0}))
    assert [row["step"] for row in rows(tmp_path)] == [1, 2, 3]


def test_a_run_that_starts_over_has_no_old_lines(tmp_path, open_writer):
    open_writer().on_event(LearnerUpdated(1, {"a": 1.0}))
    open_writer()
    assert rows(tmp_path) == []


def test_a_file_that_lost_lines_is_taken_as_it_is(tmp_path, open_writer):
    """After a power cut the file may be shorter than the checkpoint says."""
    open_writer().on_event(LearnerUpdated(1, {"a": 1.0}))
    writer = open_writer(resume_step=5, resume_rows=4)
    writer.on_event(LearnerUpdated(6, {"a": 2.0}))
    assert [row["step"] for row in rows(tmp_path)] == [1, 6]
    assert writer.rows == 2


def test_tensorboard_gets_the_same_numbers(tmp_path, open_writer):
    writer = open_writer(tensorboard=tmp_path / "board")
    writer.on_event(LearnerUpdated(3, {"critic/loss": 0.5, "b": float("nan")}))
    writer.close()
    (file,) = (tmp_path / "board").iterdir()
    content = file.read_bytes()
    assert b"critic/loss" in content
    assert b"\nb" not in content
