"""Generated spaces: refused by name, or stored and read back to the last bit."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict
from hypothesis import given, settings
from hypothesis import strategies as st

from silri.core.errors import ConfigError, SpecError
from silri.core.specs import ActionSpec, ArraySpec, EnvSpec
from silri.data.episode import Episode, EpisodeBuilder
from silri.envs.config import GymConfig
from silri.envs.gym.adapter import GymEnv, env_from
from silri.runtime.acting.autonomous import autonomous_in
from silri.runtime.acting.demos import NeutralPolicy
from silri.store.dataset import read_dataset
from silri.store.store import EpisodeStore
from tests.data.episodes import assert_equal
from tests.envs.gym.test_adapter import ARM, Arm

FLOATS = (np.float16, np.float32, np.float64)
WHOLE = (np.int8, np.int32, np.int64, np.uint8, np.uint64)
NAMES = "state agent_pos pixels images images.top a.b a b a_b a/b x/mean Ünï 位置 action index"
ODD_KEYS = st.sampled_from([*NAMES.split(), "with space", "", "\n", "\0", "\ud800", "next.reward"])
KEYS = st.one_of(ODD_KEYS, st.text(max_size=6), st.integers(0, 3))
SHAPES = st.lists(st.integers(0, 3), max_size=3).map(tuple)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    dtype = draw(st.sampled_from((*FLOATS, *WHOLE, bool)))
    shape = draw(st.one_of(SHAPES, st.sampled_from([(), (1,), (2, 2, 3), (1, 2, 1), (2, 2, 4)])))
    if dtype is bool:
        return Box(0, 1, shape, bool)
    if dtype in FLOATS:
        low, high = draw(
            st.sampled_from(
                [(-1.0, 1.0), (0.5, 0.5), (-math.inf, math.inf), (0.0, math.inf), (-6e4, 6e4)]
            )
        )
        return Box(low, high, shape, dtype)
    limits = np.iinfo(dtype)
    low, high = draw(st.sampled_from([(0, 5), (3, 3), (int(limits.min), int(limits.max))]))
    return Box(low, high, shape, dtype)


def dicts(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Dict]:
    return st.dictionaries(KEYS, children, max_size=3).map(lambda items: Dict(list(items.items())))


SPACES = st.recursive(boxes(), dicts, max_leaves=4)


def one_episode(env: GymEnv) -> Episode:
    builder = EpisodeBuilder(env.env_spec, 0, False, 1, "any", "none")
    outcome = autonomous_in(env)(NeutralPolicy(env), builder)
    assert outcome.end == "finished", outcome
    return builder.build(success=False)


def stored(env: GymEnv, episode: Episode, folder: Path) -> Episode:
    """What is read from the disk, after opening the folder a second time."""
    with EpisodeStore(folder / "episodes", folder / "quarantine", env.env_spec) as store:
        store.commit(episode)
    with EpisodeStore(folder / "episodes", folder / "quarantine", env.env_spec) as store:
        assert store.messages == []
    (read,) = read_dataset(folder / "episodes", env.env_spec)
    return read


@settings(max_examples=40)
@given(space=SPACES)
def test_a_space_is_refused_by_name_or_its_episodes_are_stored(space: Any) -> None:
    try:
        env = env_from(Arm(space), "arm", GymConfig(max_episode_steps=2))
    except ConfigError as error:
        text = str(error)
        assert text.startswith("arm: observation space ")
        assert " is unsupported: " in text
        assert "gymnasium." in text, "what to do"
        assert text.isprintable()
        return
    episode = one_episode(env)
    with tempfile.TemporaryDirectory() as folder:
        assert_equal(stored(env, episode, Path(folder)), episode)


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (Dict({"a": ARM, "none": Box(-1, 1, (0,))}), "at 'none' .* it has no elements; leave it"),
        (Dict({"": ARM}), "its key '' is empty; give it a name"),
        (Dict([(1, ARM)]), "its key 1 is no text; rename it"),
        (Dict({"top": Dict({"a\nb": ARM})}), r"at 'top' .* its key 'a\\nb' cannot be printed"),
        (Dict({"c": Box(0, 255, (4, 4, 4), np.uint8)}), "at 'c' .* uint8 with three axes is an im"),
        (
            Dict({f"images.a{dot}b": Box(0, 255, (8, 8, 3), np.uint8) for dot in "._"}),
            r"two arrays would be called \['images.a.b', 'images.a_b'\]",
        ),
    ],
)
def test_what_is_refused_names_key_space_and_remedy(space: Dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as error:
        env_from(Arm(space), "arm", GymConfig(max_episode_steps=2))
    assert "(gymnasium.ObservationWrapper)" in str(error.value)


def test_a_number_that_is_too_large_is_named() -> None:
    env = env_from(Arm(Box(1e300, 1e301, (2,), np.float64)), "arm", GymConfig(max_episode_steps=2))
    with pytest.raises(SpecError, match=r"'observation.state' is not finite at index \[0, 1\]"):
        env.reset(seed=0)


@pytest.mark.parametrize(
    ("key", "shape", "words"),
    [
        ("", (2,), "the observation '' of arm needs a name"),
        ("a\0b", (2,), r"the observation 'a\\x00b' of arm needs a name"),
        ("none", (3, 0), r"'observation.none' of arm has no elements, shape \(3, 0\)"),
    ],
)
def test_the_store_refuses_them_from_any_environment(
    tmp_path: Path, key: str, shape: tuple[int, ...], words: str
) -> None:
    spec = EnvSpec("arm", {key: ArraySpec(shape)}, ActionSpec(2), 5)
    with pytest.raises(SpecError, match=words):
        EpisodeStore(tmp_path / "episodes", tmp_path / "quarantine", spec)
    assert not (tmp_path / "episodes").exists()
