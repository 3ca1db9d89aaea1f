from __future__ import annotations

import json
import re

import numpy as np
import pytest

from silri.core.errors import DataError
from silri.store.format.layout import DATA_PATH, ROW_PATH, file_path
from silri.store.safety.lock import FolderLock
from silri.store.tools import survey
from silri.store.tools.survey import Place, problems, set_aside, stored_spec, summaries
from tests.store.foreign import LENGTHS, columns, write_lerobot
from tests.store.safety.test_recovery import flip, flip_inside
from tests.store.scenarios import DIAGNOSTICS, SPEC, broken_episode, episode, fill, open_store
from tests.store.test_store import snapshot


def test_a_dataset_or_a_run_folder(tmp_path):
    fill(tmp_path / "run", 1)
    run = Place(tmp_path / "run/episodes", tmp_path / "run/quarantine")
    assert Place.of(tmp_path / "run") == run
    (tmp_path / "run/config.json").write_text("{}")
    assert Place.of(tmp_path / "run/episodes") == run
    (tmp_path / "run/episodes").rename(tmp_path / "demos")
    assert Place.of(tmp_path / "demos").quarantine == tmp_path / "demos.quarantine"
    with pytest.raises(DataError, match="holds no dataset"):
        Place.of(tmp_path)


def test_a_table_of_episodes(tmp_path):
    fill(tmp_path, 4)
    with open_store(tmp_path) as store:
        store.quarantine(broken_episode(4), "NaN in the state")
    place = Place.of(tmp_path)
    with FolderLock(place.episodes):  # a run may be writing there
        rows = list(summaries(place))
    for number, row in enumerate(rows):
        one = episode(number)
        stats = one.stats()
        assert (row.index, row.episode_id, row.steps) == (number, number, len(one))
        assert (row.success, row.is_demo, row.operator) == (one.success, one.is_demo, "steady")
        assert (row.origin, row.task) == (one.origin, one.task)
        assert row.total_reward == pytest.approx(stats["return"], rel=1e-6)
        assert row.intervention_rate == pytest.approx(stats["intervention_rate"])
    assert [entry[:3] for entry in set_aside(place)] == [(4, 4, "NaN in the state")]


def test_a_table_of_another_programs_episodes(tmp_path):
    made = columns()
    made["intervention"] = np.arange(sum(LENGTHS)) % 2 == 0
    place = Place.of(write_lerobot(tmp_path / "d", made))
    rows = list(summaries(place))
    assert [row.steps for row in rows] == list(LENGTHS)
    assert [row.total_reward for row in rows] == [1, 1, 1]
    assert [row.intervention_rate for row in rows] == [0.5, 0.5, 0.6]
    assert problems(place) == []
    spec, _ = stored_spec(place)
    assert (spec.action.size, spec.control_hz) == (2, 10)


def test_what_a_dataset_looks_like_without_its_environment(tmp_path):
    fill(tmp_path, 4)
    spec, diagnostics = stored_spec(Place.of(tmp_path))
    assert (spec.name, spec.control_hz, spec.action.size) == (SPEC.name, 10, 3)
    assert spec.observation == SPEC.observation
    assert diagnostics == tuple(sorted(DIAGNOSTICS))
    (tmp_path / "empty/meta").mkdir(parents=True)
    with pytest.raises(DataError, match="no episode that can be read"):
        stored_spec(Place.of(tmp_path / "empty"))


def test_a_sound_dataset_has_no_problem_and_stays_as_it_is(tmp_path):
    fill(tmp_path, 4)
    with open_store(tmp_path) as store:
        store.quarantine(broken_episode(4), "NaN in the state")
        before = snapshot(tmp_path)
        assert problems(Place.of(tmp_path)) == []
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda e: flip_inside(e / file_path(DATA_PATH, 1)), "episode 1: data/.*match its checks"),
        (lambda e: flip_inside(e / file_path(ROW_PATH, 2)), "episode 2: meta/episodes/.*checksum"),
        (lambda e: (e / file_path(DATA_PATH, 1)).unlink(), "episode 1: data/.* is missing"),
        (lambda e: (e / file_path(ROW_PATH, 1)).unlink(), "episode 1: its row .* is missing"),
        (lambda e: flip(e / "meta/stats.json"), "meta/stats.json does not fit"),
        (lambda e: flip(e / "meta/info.json"), "meta/info.json does not fit"),
        (lambda e: (e / "meta/tasks.parquet").unlink(), "meta/tasks.parquet does not fit"),
        (lambda e: (e / "data/chunk-000/x.tmp").write_bytes(b""), "x.tmp: an unfinished write"),
        (
            lambda e: [(e / file_path(p, 1)).unlink() for p in (DATA_PATH, ROW_PATH)],
            "episode 2: does not follow the one before",
        ),
        (
            lambda e: flip(
                e / file_path(ROW_PATH, 1),
                (e / file_path(ROW_PATH, 1)).read_bytes().find(b"parquet-cpp"),
            ),
            "episode 1: its row in meta/episodes has damaged bytes",
        ),
        (
            lambda e: flip(e.parent / "quarantine/episode-000004/data.parquet"),
            "quarantine/episode-000004: data.parquet missing or not matching",
        ),
        (
            lambda e: flip(e.parent / "quarantine/episode-000004/reason.json"),
            "quarantine/episode-000004/reason.json",
        ),
    ],
)
def test_every_damage_is_a_problem_that_is_named(tmp_path, damage, expected):
    fill(tmp_path, 4)
    with open_store(tmp_path) as store:
        store.quarantine(broken_episode(4), "NaN in the state")
    damage(tmp_path / "episodes")
    before = snapshot(tmp_path)
    found = problems(Place.of(tmp_path))
    assert found
    assert any(re.search(expected, problem) for problem in found), found
    assert snapshot(tmp_path) == before


def test_a_commit_under_way_is_no_problem(tmp_path, monkeypatch):
    """The first look sees frames without a row; at the second the row is there."""
    fill(tmp_path, 3)
    looks = []

    def look(place):
        looks.append(place)
        return ["episode 2: its row in meta/episodes is missing"] if len(looks) == 1 else []

    monkeypatch.setattr(survey, "_problems", look)
    assert problems(Place.of(tmp_path)) == []
    assert len(looks) == 2


def test_a_later_version_is_refused(tmp_path):
    fill(tmp_path, 1)
    path = tmp_path / "episodes/meta/info.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "silri_format": 9}))
    with pytest.raises(DataError, match="silri_format 9"):
        problems(Place.of(tmp_path))
