from __future__ import annotations

import json

import pytest

from silri.configs.run import RunConfig
from silri.core.errors import ConfigError, RunFolderError
from silri.runtime.keeping.folder import RunFolder

CONFIG = RunConfig.from_preset("bc")


def test_a_new_folder_says_what_it_is_of(tmp_path):
    folder = RunFolder.create(tmp_path / "runs/a", CONFIG)
    record = json.loads(folder.config.read_text())
    assert record["run"]["agent_name"] == "bc"
    assert record["packages"]["numpy"]
    assert set(record["git"]) == {"commit", "dirty"}
    again, config = RunFolder.open(tmp_path / "runs/a")
    assert config == CONFIG
    assert again.path == folder.path


def test_an_empty_folder_or_what_a_killed_start_left_is_fine(tmp_path):
    (tmp_path / "config.json.tmp").write_text("{")
    RunFolder.create(tmp_path, CONFIG)


def test_a_folder_that_is_in_use_is_refused_with_two_ways_out(tmp_path):
    RunFolder.create(tmp_path / "run", CONFIG)
    with pytest.raises(RunFolderError, match=r"not empty: .*--resume .*run'.*--out"):
        RunFolder.create(tmp_path / "run", CONFIG)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="file exists"):
        RunFolder.create(tmp_path / "file", CONFIG)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.tex").write_text("")
    with pytest.raises(RunFolderError, match="not empty"):
        RunFolder.create(tmp_path / "other", CONFIG)


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunFolderError, match="does not exist"):
        RunFolder.open(tmp_path / "nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="it is a file"):
        RunFolder.open(tmp_path / "file")
    with pytest.raises(RunFolderError, match="has no config.json"):
        RunFolder.open(tmp_path)
    (tmp_path / "config.json").write_text('{"format": 10, "run": {"agent_name": "bc"}}')
    with pytest.raises(ConfigError, match="env takes an object with a 'name', got None"):
        RunFolder.open(tmp_path)


def refuse(folder, does):
    with folder.unless_refused():
        does()
        raise ConfigError("no such encoder")


def test_a_run_that_is_refused_at_once_leaves_no_folder(tmp_path):
    folder = RunFolder.create(tmp_path / "run", CONFIG)
    with pytest.raises(ConfigError, match="no such encoder"):
        refuse(folder, (folder.path / ".lock").touch)
    assert not folder.path.exists()


def test_nor_an_empty_dataset_but_a_run_that_was_there_before_stays(tmp_path):
    folder = RunFolder.create(tmp_path / "run", CONFIG)
    with pytest.raises(ConfigError, match="no such encoder"):
        refuse(folder, (folder.path / "episodes").mkdir)
    assert not folder.path.exists()
    RunFolder.create(tmp_path / "run", CONFIG)
    again, _ = RunFolder.open(tmp_path / "run")
    with pytest.raises(ConfigError, match="no such encoder"):
        refuse(again, lambda: None)
    assert again.config.exists()


@pytest.mark.parametrize("kept", ["metrics.jsonl", "episodes/data"])
@pytest.mark.parametrize("when", ["before", "inside"])
def test_what_a_run_has_done_is_never_removed(tmp_path, kept, when):
    folder = RunFolder.create(tmp_path / "run", CONFIG)
    made = folder.path / kept
    if when == "before":
        made.mkdir(parents=True)
    with pytest.raises(ConfigError, match="no such encoder"):
        refuse(folder, lambda: made.mkdir(parents=True, exist_ok=True))
    assert made.exists()
    assert folder.config.exists()
