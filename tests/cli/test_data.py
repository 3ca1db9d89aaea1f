"""``silri data``: what a person types and what they see."""

from __future__ import annotations

import pytest

from silri.cli.main import DONE, FAILED, USAGE, main
from silri.store.dataset import read_dataset
from silri.store.format.layout import DATA_PATH, file_path
from tests.store.foreign import columns, write_lerobot
from tests.store.safety.test_recovery import flip_inside
from tests.store.scenarios import SPEC, broken_episode, fill, open_store


@pytest.fixture
def run(tmp_path):
    """A run folder with four episodes and one in quarantine."""
    fill(tmp_path / "run", 4)
    with open_store(tmp_path / "run") as store:
        store.quarantine(broken_episode(4), "NaN in the state")
    return tmp_path / "run"


def test_list(run, capsys):
    assert main(["data", "list", str(run)]) == DONE
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        *("index", "id", "steps", "success", "return", "human", "demo", "operator", "origin")
    ]
    assert lines[1].split() == ["0", "0", "4", "yes", "6.00", "100%", "yes", "steady", "-"]
    assert lines[4].split() == [
        *("3", "3", "5", "no", "15010.00", "60%", "no", "steady", "robot-1/9f3a:3")
    ]
    assert lines[5] == f"4 episodes, 18 steps in {run / 'episodes'}"
    assert lines[6] == "set aside: episode 4, 4 steps: NaN in the state"


def test_check_and_repair(run, capsys):
    assert main(["data", "check", str(run)]) == DONE
    assert capsys.readouterr().out == f"{run / 'episodes'} is sound\n"
    flip_inside(run / "episodes" / file_path(DATA_PATH, 1))
    assert main(["data", "check", str(run / "episodes")]) == FAILED
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "episode 1: data/chunk-000/file-001.parquet does not match its checksum"
    assert lines[-1].startswith("1 problem in")
    assert main(["data", "repair", str(run)]) == DONE
    assert "episode 1 (6 steps) set aside" in capsys.readouterr().out
    assert main(["data", "check", str(run)]) == DONE
    assert main(["data", "repair", str(run)]) == DONE
    assert "there was nothing to do" in capsys.readouterr().out


def test_of_another_programs_dataset_no_repair_is_offered(tmp_path, capsys):
    lerobots = write_lerobot(tmp_path / "theirs", columns())
    (lerobots / file_path(DATA_PATH, 1)).unlink()
    assert main(["data", "check", str(lerobots)]) == FAILED
    assert "another program recorded it: copy or download it again" in capsys.readouterr().out
    (lerobots / "meta/info.json").write_text("{")
    assert main(["data", "check", str(lerobots)]) == FAILED
    assert "info.json is missing or no JSON object" in capsys.readouterr().out
    assert main(["data", "repair", str(lerobots)]) == FAILED
    assert (lerobots / file_path(DATA_PATH, 0)).exists()


def test_merge_and_export(run, tmp_path, capsys):
    out = tmp_path / "all"
    assert main(["data", "merge", str(run), str(run), "--out", str(out)]) == DONE
    # Two of the four have an origin, and are there once; the others cannot be told apart.
    assert capsys.readouterr().out == f"6 episodes in {out}; 2 were there twice\n"
    assert len(read_dataset(out, SPEC)) == 6
    plain = tmp_path / "plain"
    assert main(["data", "export", str(run), "--out", str(plain), "--only", "demos"]) == DONE
    assert capsys.readouterr().out == f"2 episodes in {plain}\n"
    assert len(read_dataset(plain)) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lst"], "unknown command of 'silri data' 'lst'. Did you mean 'list'?"),
        (["export", "x", "--out", "y", "--only", "succes"], "Did you mean 'success'?"),
        (["merge", "--out", "y"], "name the datasets to merge"),
    ],
)
def test_wrong_words_are_usage_errors(arguments, message, capsys):
    assert main(["data", *arguments]) == USAGE
    assert message in capsys.readouterr().err


def test_no_dataset_there(tmp_path, capsys):
    assert main(["data", "list", str(tmp_path)]) == FAILED
    assert "holds no dataset" in capsys.readouterr().err


def test_help(capsys):
    assert main(["data"]) == DONE
    assert "silri data COMMAND" in capsys.readouterr().out
