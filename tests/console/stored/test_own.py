"""What a robot's page shows of its episodes: those that wait, and the last that were sent."""

from __future__ import annotations

import json
import shutil

import pytest

from silri.configs.serialize import FORMAT, to_json
from silri.console.stored.archive import Archive
from silri.console.stored.curves import Curves
from silri.console.stored.record import RunRecord
from silri.core.errors import DataError, RunFolderError
from silri.runtime.cluster import sent as sent_module
from silri.runtime.cluster.paths import SpoolPaths, write_record
from silri.runtime.cluster.sent import Sent
from tests.fakes.cell import Cell, Faulty
from tests.fakes.models.agent import registered


@pytest.fixture
def cell(tmp_path):
    """Five episodes, of which the second one broke."""
    with registered():
        made = Cell(tmp_path / "spool")
        made.publish(0)
        made.loop(5, env=Faulty({1})).run()
        setup = {"format": FORMAT, "run": to_json(made.config)}
        write_record(made.paths.setup, setup)
        made.paths.page.write_text("{}")  # somebody looks
        yield made


def test_it_is_shown_whether_or_not_it_was_sent(cell):
    uploads = {u.episode.episode_id: u.episode for u in cell.episodes()}
    for number in (0, 1, 2):
        cell.spool.acknowledge(number)
    assert cell.spool.waiting() == [3, 4]
    record = RunRecord.read(cell.spool.folder)
    assert record.is_robot
    archive = Archive(record, record.spec(), None)
    rows = archive.index()
    assert [row["episode"] for row in rows] == [0, 2, 3, 4]  # the other is for the quarantine
    for row in rows:
        episode = uploads[row["episode"]]
        assert (row["length"], row["success"]) == (len(episode), episode.success)
        assert row["human_steps"] == episode.frames["is_intervention"].sum()
        shown = archive.steps(row["episode"])["steps"]
        assert [step["driver"] == "human" for step in shown] == (
            episode.frames["is_intervention"].astype(bool).tolist()
        )
    points = Curves.of(record, archive.library.entries()).points
    lengths = [row["length"] for row in rows]
    assert [point["env_step"] for point in points] == [sum(lengths[: i + 1]) for i in range(4)]


def test_one_that_is_gone_says_where_to_look(cell):
    cell.spool.acknowledge(0)
    Sent(cell.spool.folder).clear()
    library = RunRecord.read(cell.spool.folder).library()
    assert [entry.episode_id for entry in library.entries()] == [2, 3, 4]
    with pytest.raises(DataError, match="episode 0 is not on this robot's machine any more: look"):
        library.episode(0)


def test_a_damaged_one_is_named(cell):
    path = cell.spool.folder / "episodes" / "00000003"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="00000003"):
        RunRecord.read(cell.spool.folder).library().entries()


def test_nothing_is_kept_if_nobody_looks(cell):
    cell.paths.page.unlink()
    cell.spool.acknowledge(0)
    assert Sent(cell.spool.folder).paths() == []


def test_the_oldest_go_first(cell, monkeypatch):
    size = (cell.spool.folder / "episodes" / "00000002").stat().st_size
    monkeypatch.setattr(sent_module, "KEPT_BYTES", int(2.5 * size))
    for number in range(5):
        cell.spool.acknowledge(number)
    kept = [path.name for path in Sent(cell.spool.folder).paths()]
    assert kept == ["00000003", "00000004"]


def test_a_disk_that_fills_up_keeps_none(cell, monkeypatch):
    cell.spool.acknowledge(0)
    usage = shutil.disk_usage(cell.spool.folder)
    monkeypatch.setattr(
        sent_module.shutil, "disk_usage", lambda path: usage._replace(free=10**9 - 1)
    )
    cell.spool.acknowledge(1)
    assert Sent(cell.spool.folder).paths() == []
    assert cell.spool.waiting() == [2, 3, 4]


def test_what_is_kept_makes_room_for_an_episode(cell, monkeypatch):
    cell.spool.acknowledge(0)
    usage = shutil.disk_usage(cell.spool.folder)
    free = [10**6, 10**9]
    monkeypatch.setattr(
        sent_module.shutil, "disk_usage", lambda path: usage._replace(free=free.pop(0))
    )
    cell.spool.check_room(10**6)
    assert Sent(cell.spool.folder).paths() == []


def test_a_folder_of_anything_else_is_no_robots(tmp_path):
    with pytest.raises(RunFolderError, match="is no run folder"):
        RunRecord.read(tmp_path)
    SpoolPaths(tmp_path).setup.write_text(json.dumps({"run": {}}))
    with pytest.raises(DataError, match="setup.json is damaged"):
        RunRecord.read(tmp_path)
