from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silri.core.errors import DataError, NonFiniteError, SpecError, UnknownNameError
from silri.core.seeding import Stream, rng
from silri.core.specs import ActionSpec, ArraySpec, EnvSpec
from silri.data.episode import Episode
from silri.data.replay import Replay
from tests.data.episodes import make_episode

SPEC = EnvSpec(
    name="fake",
    observation={"state": ArraySpec((2,)), "image": ArraySpec((2, 2, 3), "uint8")},
    action=ActionSpec(3, gripper=(2,)),
    max_episode_steps=10,
)


def transitions(episode: Episode, select: np.ndarray | None = None) -> list[dict[str, np.ndarray]]:
    """What a ring of unlimited size and no vectorisation would hold."""
    rows = []
    for t in range(len(episode)):
        if select is not None and not select[t]:
            continue
        frame = {name: column[t] for name, column in episode.frames.items()}
        rows.append(
            {
                "o": {k: v[t] for k, v in episode.observations.items()},
                "o2": {k: v[t + 1] for k, v in episode.observations.items()},
                "action": frame["action"],
                "human_action": frame["human_action" if frame["is_intervention"] else "action"],
                "reward": frame["reward"],
                "mask": np.float32(0.0 if frame["terminated"] else 1.0),
                "is_intervention": np.float32(frame["is_intervention"]),
                "grasp_penalty": frame["grasp_penalty"],
                "source": (episode.episode_id, t, episode.is_demo),
            }
        )
    return rows


def assert_holds(replay: Replay, expected: list[dict[str, np.ndarray]]) -> None:
    """The ring has exactly these rows, oldest first from the slot that is overwritten next."""
    assert len(replay) == len(expected)
    if not expected:
        return
    start = replay._next if len(replay) == replay.capacity else 0
    slots = (start + np.arange(len(replay))) % replay.capacity
    batch = replay.at(slots)
    for n, row in enumerate(expected):
        for key in row["o"]:
            np.testing.assert_array_equal(batch.observation[key][n], row["o"][key])
            np.testing.assert_array_equal(batch.next_observation[key][n], row["o2"][key])
        for name in ("action", "human_action", "reward", "mask", "is_intervention"):
            np.testing.assert_array_equal(getattr(batch, name)[n], row[name])
        assert batch.grasp_penalty[n] == row["grasp_penalty"]
        slot = slots[n]
        source = (replay.episode_id[slot], replay.step[slot], replay.is_demo[slot])
        assert source == row["source"]


episodes = st.lists(
    st.tuples(
        st.lists(st.booleans(), min_size=1, max_size=9),  # intervention flags
        st.booleans(),  # terminated or timed out
        st.booleans(),  # select by the flags or take all
    ),
    max_size=8,
)


@given(capacity=st.integers(1, 20), plan=episodes)
def test_ring_holds_the_last_transitions_with_their_true_next_observation(capacity, plan):
    replay = Replay(capacity, SPEC)
    expected = []
    for number, (flags, terminated, selective) in enumerate(plan):
        episode = make_episode(SPEC, number, len(flags), flags=flags, terminated=terminated)
        select = np.asarray(flags) if selective else None
        new = transitions(episode, select)
        assert replay.add(episode, select) == len(new)
        expected = (expected + new)[-capacity:]
        assert_holds(replay, expected)


@pytest.mark.parametrize("steps", [4, 5, 6, 10, 11, 13])
def test_exactly_at_and_around_the_capacity(steps):
    replay = Replay(5, SPEC)
    expected = []
    for number in range(4):
        episode = make_episode(SPEC, number, steps)
        replay.add(episode)
        expected = (expected + transitions(episode))[-5:]
        assert_holds(replay, expected)


def test_segment_end_has_the_observation_after_it_and_not_the_next_segments():
    flags = [True, True, False, False, True, False]
    episode = make_episode(SPEC, 1, 6, flags=flags, terminated=False)
    replay = Replay(10, SPEC)
    replay.add(episode, np.asarray(flags))
    batch = replay.at(np.arange(3))
    assert batch.observation["state"][:, 0].tolist() == [1000, 1001, 1004]
    assert batch.next_observation["state"][:, 0].tolist() == [1001, 1002, 1005]


def test_time_out_bootstraps_from_its_true_last_observation_and_termination_does_not():
    replay = Replay(10, SPEC)
    replay.add(make_episode(SPEC, 1, 3, terminated=False))
    replay.add(make_episode(SPEC, 2, 3, terminated=True))
    batch = replay.at(np.arange(6))
    assert batch.mask.tolist() == [1, 1, 1, 1, 1, 0]
    assert batch.next_observation["state"][[2, 5], 0].tolist() == [1003, 2003]


def test_human_action_is_never_nan():
    replay = Replay(10, SPEC)
    episode = make_episode(SPEC, 0, 4, flags=[False, True, False, True])
    replay.add(episode)
    batch = replay.at(np.arange(4))
    np.testing.assert_array_equal(batch.human_action[[0, 2]], episode.frames["action"][[0, 2]])
    np.testing.assert_array_equal(
        batch.human_action[[1, 3]], episode.frames["human_action"][[1, 3]]
    )


@pytest.mark.parametrize("shape", [(7,), (2, 128), (3, 2, 5)])
def test_sample_has_the_asked_shape_however_few_are_stored(shape):
    replay = Replay(100, SPEC)
    replay.add(make_episode(SPEC, 0, 1))
    batch = replay.sample(rng(0, Stream.REPLAY, 0), shape)
    assert batch.reward.shape == shape
    assert batch.mask.dtype == batch.is_intervention.dtype == np.float32
    assert batch.action.shape == (*shape, 3)
    assert batch.observation["state"].shape == (*shape, 2)
    assert batch.observation["image"].shape == (*shape, 2, 2, 3)
    assert batch.observation["image"].dtype == np.uint8
    assert batch.columns == {}
    arrays = [batch.action, batch.reward, *batch.observation.values()]
    assert all(array.flags.c_contiguous for array in arrays)


def test_sample_is_uniform_and_depends_on_the_generator_alone():
    replay = Replay(16, SPEC)
    for number in range(3):
        replay.add(make_episode(SPEC, number, 7))
    first = replay.sample(rng(1, Stream.REPLAY, 5), (4000,))
    again = replay.sample(rng(1, Stream.REPLAY, 5), (4000,))
    np.testing.assert_array_equal(first.reward, again.reward)
    counts = np.unique(first.reward, return_counts=True)[1]
    assert len(counts) == 16
    assert counts.min() > 4000 / 16 * 0.7


def test_a_batch_does_not_change_when_the_ring_does():
    replay = Replay(4, SPEC)
    replay.add(make_episode(SPEC, 0, 4))
    batch = replay.sample(rng(0, Stream.REPLAY, 0), (8,))
    before = batch.reward.copy(), batch.observation["image"].copy()
    replay.add(make_episode(SPEC, 1, 4))
    replay.sample(rng(0, Stream.REPLAY, 1), (8,))
    np.testing.assert_array_equal(batch.reward, before[0])
    np.testing.assert_array_equal(batch.observation["image"], before[1])


def test_a_declared_column_is_computed_when_an_episode_is_added():
    replay = Replay(8, SPEC, ("mc_return",), discount=0.5)
    episode = make_episode(SPEC, 0, 4)
    replay.add(episode)
    reward = episode.frames["reward"]
    last = reward[3]
    expected = [
        reward[0] + 0.5 * (reward[1] + 0.5 * (reward[2] + 0.5 * last)),
        reward[1] + 0.5 * (reward[2] + 0.5 * last),
        reward[2] + 0.5 * last,
        last,
    ]
    np.testing.assert_allclose(replay.at(np.arange(4)).columns["mc_return"], expected, rtol=1e-6)
    with pytest.raises(UnknownNameError, match=r"column of a batch 'mc_returns'.*'mc_return'"):
        Replay(8, SPEC, ("mc_returns",))


def test_a_time_out_has_the_return_of_its_last_reward_for_ever():
    replay = Replay(8, SPEC, ("mc_return",), discount=0.75)
    episode = make_episode(SPEC, 0, 4)
    episode.frames["reward"][:] = -0.5
    episode.frames["terminated"][-1] = False
    replay.add(episode)
    np.testing.assert_allclose(replay.at(np.arange(4)).columns["mc_return"], -2.0, rtol=1e-6)


@given(capacity=st.integers(1, 12), plan=episodes, n=st.integers(1, 4))
def test_every_row_points_at_its_own_two_frames_whatever_was_overwritten(capacity, plan, n):
    """Rows that lie apart, long episodes and the wrap of both rings, with returns of n steps."""
    replay = Replay(capacity, SPEC, n_step=n, discount=0.5)
    kept = {}
    for number, (flags, terminated, selective) in enumerate(plan):
        episode = kept[number] = make_episode(
            SPEC, number, len(flags), flags=flags, terminated=terminated
        )
        replay.add(episode, np.asarray(flags) if selective else None)
    if not len(replay):
        return
    batch = replay.at(np.arange(len(replay)))
    for row in range(len(replay)):
        episode, step = kept[replay.episode_id[row]], int(replay.step[row])
        _, following, _ = n_step(episode, step, n, 0.5)
        for key, frames in episode.observations.items():
            np.testing.assert_array_equal(batch.observation[key][row], frames[step])
            np.testing.assert_array_equal(batch.next_observation[key][row], frames[following])


def test_a_frame_is_kept_once_for_both_sides_of_a_transition():
    replay = Replay(5000, SPEC)
    for number in range(4):
        replay.add(make_episode(SPEC, number, 100))
    assert replay._frames.written == 4 * 101
    assert len(replay._frames._blocks["image"]) == 1  # and memory is taken as it fills


def test_what_does_not_fit_is_refused_and_changes_nothing():
    replay = Replay(5, SPEC)
    replay.add(make_episode(SPEC, 0, 3))
    bad = make_episode(SPEC, 1, 3)
    bad.observations["state"][2, 1] = np.nan
    with pytest.raises(NonFiniteError, match=r"'observation.state' of episode 1"):
        replay.add(bad)
    human = make_episode(SPEC, 1, 3, flags=[True, False, True])
    human.frames["human_action"][0, 0] = np.inf
    with pytest.raises(NonFiniteError, match="'human_action' of episode 1"):
        replay.add(human)
    shaped = make_episode(SPEC, 1, 3)
    shaped.observations["state"] = np.zeros((4, 3), np.float32)
    with pytest.raises(SpecError, match=r"shape \(3,\) per step; the replay was made for \(2,\)"):
        replay.add(shaped)
    lacking = dataclasses.replace(bad, observations={"state": bad.observations["state"]})
    with pytest.raises(SpecError, match=r"lacks the observations \['image'\]"):
        replay.add(lacking)
    scaled = make_episode(SPEC, 1, 3)
    scaled.observations["image"] = scaled.observations["image"] / np.float32(255)
    with pytest.raises(SpecError, match=r"image' of episode 1 has dtype float32; .* uint8"):
        replay.add(scaled)
    with pytest.raises(SpecError, match="'select'"):
        replay.add(make_episode(SPEC, 1, 3), np.ones(2, bool))
    assert_holds(replay, transitions(make_episode(SPEC, 0, 3)))


def test_empty():
    with pytest.raises(SpecError, match="capacity"):
        Replay(0, SPEC)
    replay = Replay(3, SPEC)
    with pytest.raises(DataError, match="empty"):
        replay.sample(rng(0, Stream.REPLAY, 0), (4,))
    assert replay.add(make_episode(SPEC, 0, 3), np.zeros(3, bool)) == 0
    assert len(replay) == 0


def n_step(
    episode: Episode, t: int, n: int, gamma: float, name: str = "reward"
) -> tuple[float, int, float]:
    """Sum of up to n rewards, what follows them, and the mask, one step at a time."""
    total, k = 0.0, 0
    flags = episode.frames["is_intervention"]
    while k < n and t + k < len(episode) and flags[t + k] == flags[t]:
        total += gamma**k * float(episode.frames[name][t + k])
        k += 1
    ended = bool(episode.frames["terminated"][t + k - 1])
    return total, t + k, 0.0 if ended else gamma ** (k - 1)


@pytest.mark.parametrize("n", [1, 3, 20])
@pytest.mark.parametrize("terminated", [True, False])
def test_returns_of_several_steps_end_with_their_episode(n, terminated):
    episode = make_episode(SPEC, 0, 7, terminated=terminated)
    replay = Replay(20, SPEC, n_step=n, discount=0.5)
    replay.add(episode)
    batch = replay.at(np.arange(7))
    for t in range(7):
        total, following, mask = n_step(episode, t, n, 0.5)
        assert batch.reward[t] == pytest.approx(total, rel=1e-6)
        penalties = n_step(episode, t, n, 0.5, "grasp_penalty")[0]
        assert batch.grasp_penalty[t] == pytest.approx(penalties, rel=1e-6)
        assert batch.mask[t] == np.float32(mask)
        np.testing.assert_array_equal(
            batch.next_observation["state"][t], episode.observations["state"][following]
        )


def test_a_return_ends_at_a_hand_over():
    flags = [False, False, True, True, True, False, False]
    episode = make_episode(SPEC, 0, 7, flags=flags)
    replay = Replay(20, SPEC, n_step=3, discount=0.5)
    replay.add(episode)
    batch = replay.at(np.arange(7))
    follows = batch.next_observation["state"][:, 0]  # the row's number in its episode
    np.testing.assert_array_equal(follows, [2, 2, 5, 5, 5, 7, 7])
    np.testing.assert_array_equal(batch.mask, [0.5, 1.0, 0.25, 0.5, 1.0, 0.0, 0.0])
    for t in range(7):
        assert batch.reward[t] == pytest.approx(n_step(episode, t, 3, 0.5)[0], rel=1e-6)
