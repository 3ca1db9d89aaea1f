"""An instruction through the store: LeRobot's task on disk, the same text when it comes back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from silri.core.errors import SpecError
from silri.core.specs import ArraySpec, EnvSpec
from silri.store.dataset import iterate_dataset
from silri.store.format.encoded import encode
from silri.store.store import EpisodeStore
from silri.store.tools.export import export
from silri.store.tools.merge import merge
from silri.store.tools.survey import Place, problems, stored_spec
from tests.data.episodes import make_episode

SAID = ("open the drawer", "öffne die Schublade", "open the drawer")


@pytest.fixture
def told(spec) -> EnvSpec:
    return replace(spec, observation={**spec.observation, "instruction": ArraySpec((), "<U40")})


def episodes(spec):
    numbers = {k: a for k, a in spec.observation.items() if not a.is_text}
    for index, text in enumerate(SAID):
        episode = make_episode(replace(spec, observation=numbers), index, steps=3, task=text)
        words = {"instruction": np.full(4, text, "<U40")}
        yield replace(episode, observations={**episode.observations, **words})


def stored(tmp_path, told, name="episodes"):
    with EpisodeStore(tmp_path / name, tmp_path / f"{name}_aside", told) as store:
        for episode in episodes(told):
            store.commit(episode)
    return Place(tmp_path / name, tmp_path / f"{name}_aside")


def assert_same(found, told):
    for mine, theirs in zip(episodes(told), found, strict=True):
        assert theirs.task == mine.task
        text = theirs.observations["instruction"]
        assert text.dtype == "<U40"
        np.testing.assert_array_equal(text, mine.observations["instruction"])
        np.testing.assert_array_equal(theirs.observations["state"], mine.observations["state"])


def test_it_comes_back_as_it_was(tmp_path, told):
    place = stored(tmp_path, told)
    with EpisodeStore(place.episodes, place.quarantine, told) as store:
        assert store.messages == []
        assert_same(store.episodes(), told)


def test_on_disk_it_is_the_task_of_every_frame(tmp_path, told):
    place = stored(tmp_path, told)
    tasks = pq.read_table(place.episodes / "meta/tasks.parquet").to_pydict()
    assert tasks["__index_level_0__"] == ["open the drawer", "öffne die Schublade"]
    for index, task in enumerate((0, 1, 0)):
        table = pq.read_table(place.episodes / f"data/chunk-000/file-{index:03d}.parquet")
        assert table["task_index"].to_pylist() == [task] * 3
        assert "observation.instruction" not in table.column_names  # LeRobot's features are numbers


def test_an_encoded_episode_keeps_it(tmp_path, told):
    with EpisodeStore(tmp_path / "a", tmp_path / "b", told) as store:
        for episode in episodes(told):
            encoded = encode(episode, told.control_hz)
            encoded.check(told)
            store.commit(encoded)
        assert_same(store.episodes(), told)


def test_merged_exported_and_checked(tmp_path, told):
    first, second = stored(tmp_path, told), stored(tmp_path, told, "more")
    assert problems(first) == []
    assert stored_spec(first)[0].observation["instruction"] == ArraySpec((), "<U40")
    merge([first, second], tmp_path / "merged")
    found = list(iterate_dataset(tmp_path / "merged", told))
    assert_same(found[:3], told)
    assert_same(found[3:], told)
    export(first, tmp_path / "exported")
    # What other programs wrote has no text but the task: that is the instruction then.
    others = list(iterate_dataset(tmp_path / "exported", told))
    assert [str(e.observations["instruction"][0]) for e in others] == list(SAID)
    short = replace(told, observation={**told.observation, "instruction": ArraySpec((), "<U16")})
    with pytest.raises(SpecError, match=r"'instruction, the task of episode 1' has 19 characters"):
        list(iterate_dataset(tmp_path / "exported", short))


def test_one_that_changes_or_says_nothing_is_refused(tmp_path, told):
    episode = next(episodes(told))
    for words, said in ((["a", "a", "b", "b"], "'a', 'b'"), ([" "] * 4, "' '")):
        odd = {**episode.observations, "instruction": np.array(words, "<U40")}
        with (
            EpisodeStore(tmp_path / said, tmp_path / "aside", told) as store,
            pytest.raises(SpecError, match=rf"'observation.instruction' of episode 0 .* {said}"),
        ):
            store.commit(replace(episode, observations=odd))


def test_several_texts_in_one_observation_are_refused(tmp_path, spec):
    odd = replace(spec, points={}, observation={"instruction": ArraySpec((2,), "<U8")})
    message = r"'observation\.instruction' of fake/reach has \(2,\) texts"
    with pytest.raises(SpecError, match=message):
        EpisodeStore(tmp_path / "a", tmp_path / "b", odd)
