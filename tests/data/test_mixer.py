from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silri.core.errors import ConfigError, DataError, SpecError
from silri.core.seeding import Stream, rng
from silri.core.specs import ActionSpec, ArraySpec, EnvSpec
from silri.data.mixer import Mixer
from silri.data.replay import Replay
from tests.data.episodes import make_episode

SPEC = EnvSpec(
    name="fake",
    observation={"state": ArraySpec((4,)), "image": ArraySpec((2, 2, 3), "uint8")},
    action=ActionSpec(4, gripper=(3,)),
    max_episode_steps=10,
)


def make_mixer(capacity: int = 200, batch: int = 8, fraction: float = 0.5) -> Mixer:
    return Mixer(Replay(capacity, SPEC), Replay(capacity, SPEC), batch, fraction)


def contents(replay: Replay) -> set[tuple[int, int]]:
    size = len(replay)
    pairs = zip(replay.episode_id[:size], replay.step[:size], strict=True)
    return {(int(episode), int(step)) for episode, step in pairs}


@given(
    demos=st.integers(0, 3),
    online=st.lists(st.lists(st.booleans(), min_size=1, max_size=8), max_size=5),
)
def test_what_goes_where(demos, online):
    mixer = make_mixer()
    for number in range(demos):
        mixer.add(make_episode(SPEC, number, 3, is_demo=True))
    for number, flags in enumerate(online, start=demos):
        mixer.add(make_episode(SPEC, number, len(flags), flags=flags))
    shown = {(n, t) for n in range(demos) for t in range(3)}
    executed = {(n, t) for n, flags in enumerate(online, demos) for t in range(len(flags))}
    human = {(n, t) for n, flags in enumerate(online, demos) for t, f in enumerate(flags) if f}
    assert contents(mixer.online) == executed
    assert contents(mixer.guidance) == shown | human
    assert len(mixer.online) == len(executed)  # nothing twice
    assert len(mixer.guidance) == len(shown | human)
    assert contents(mixer.guidance) - shown <= contents(mixer.online)
    if len(mixer.guidance):
        batch = mixer.guidance.at(np.arange(len(mixer.guidance)))
        assert batch.is_intervention.all()  # a policy step never enters D_I


def test_the_reward_scale_is_of_batches_and_not_of_what_is_kept():
    mixer, raw = make_mixer(), make_mixer()
    for each in (mixer, raw):
        each.add(make_episode(SPEC, 1, 5, is_demo=True))
        each.add(make_episode(SPEC, 2, 5))
    mixer.reward_scale = 0.25
    for _ in range(2):  # the second time as well
        pairs = [
            (
                mixer.sample(rng(0, Stream.REPLAY, 0), 3)[0],
                raw.sample(rng(0, Stream.REPLAY, 0), 3)[0],
            ),
            (
                mixer.sample_guidance(rng(0, Stream.REPLAY, 1), 3, 4),
                raw.sample_guidance(rng(0, Stream.REPLAY, 1), 3, 4),
            ),
        ]
        for scaled, usual in pairs:
            for name, value in usual._asdict().items():
                factor = 0.25 if name in ("reward", "grasp_penalty") else 1.0
                if isinstance(value, np.ndarray):
                    np.testing.assert_array_equal(getattr(scaled, name), factor * value)


@pytest.mark.parametrize(("batch", "fraction", "first"), [(8, 0.5, 4), (7, 0.5, 4), (10, 0.2, 2)])
def test_first_rows_are_online_and_the_rest_guidance(batch, fraction, first):
    mixer = make_mixer(batch=batch, fraction=fraction)
    mixer.add(make_episode(SPEC, 0, 5, is_demo=True))
    mixer.add(make_episode(SPEC, 1, 5))
    drawn, mix = mixer.sample(rng(0, Stream.REPLAY, 1), 3)
    assert drawn.reward.shape == (3, batch)
    assert drawn.observation["image"].shape == (3, batch, 2, 2, 3)
    source = drawn.reward // 1000
    np.testing.assert_array_equal(source[:, :first], 1)
    np.testing.assert_array_equal(source[:, first:], 0)
    np.testing.assert_array_equal(drawn.is_intervention, source == 0)
    assert mix["mix/online"] == pytest.approx(first / batch)
    assert mix["mix/demo"] == mix["mix/human"] == pytest.approx(1 - first / batch)
    assert mix["mix/intervention"] == 0


def test_rows_stay_whole():
    """No column is shifted against another by the assembly of a batch."""
    mixer = make_mixer(batch=64)
    episodes = [make_episode(SPEC, 0, 9, is_demo=True), make_episode(SPEC, 1, 9)]
    for episode in episodes:
        mixer.add(episode)
    batch, _ = mixer.sample(rng(0, Stream.REPLAY, 2), 2)
    for index in np.ndindex(2, 64):
        episode = episodes[int(batch.reward[index] // 1000)]
        step = int(batch.reward[index] % 1000)
        for key in SPEC.observation:
            rows = episode.observations[key]
            np.testing.assert_array_equal(batch.observation[key][index], rows[step])
            np.testing.assert_array_equal(batch.next_observation[key][index], rows[step + 1])
        np.testing.assert_array_equal(batch.action[index], episode.frames["action"][step])


def test_mix_counts_rows():
    mixer = make_mixer(batch=400)
    mixer.add(make_episode(SPEC, 0, 5, is_demo=True))
    mixer.add(make_episode(SPEC, 1, 10, flags=[True] * 5 + [False] * 5))
    batch, mix = mixer.sample(rng(0, Stream.REPLAY, 1), 2)
    guidance = batch.reward[:, 200:]
    assert mix["mix/online"] == 0.5
    assert mix["mix/demo"] == pytest.approx((guidance < 1000).sum() / 800)
    assert mix["mix/intervention"] == pytest.approx((guidance >= 1000).sum() / 800)
    assert mix["mix/demo"] == pytest.approx(0.25, abs=0.05)
    assert mix["mix/human"] == pytest.approx(batch.is_intervention.mean())
    assert sum(mix[f"mix/{name}"] for name in ("online", "demo", "intervention")) == 1


def test_an_empty_half_is_filled_by_the_other_and_flags_stay_true():
    mixer = make_mixer()
    with pytest.raises(DataError, match="both replays are empty"):
        mixer.sample(rng(0, Stream.REPLAY, 0), 1)
    with pytest.raises(DataError, match="no demonstration"):
        mixer.sample_guidance(rng(0, Stream.REPLAY, 0), 1, 4)
    mixer.add(make_episode(SPEC, 0, 5, flags=[False] * 5))
    batch, mix = mixer.sample(rng(0, Stream.REPLAY, 0), 2)
    assert batch.reward.shape == (2, 8)
    assert not batch.is_intervention.any()
    assert mix == {
        "mix/online": 1,
        "mix/intervention": 0,
        "mix/demo": 0,
        "mix/human": 0,
    }

    mixer = make_mixer()
    mixer.add(make_episode(SPEC, 0, 5, is_demo=True))
    batch, mix = mixer.sample(rng(0, Stream.REPLAY, 0), 2)
    assert batch.reward.shape == (2, 8)
    assert batch.is_intervention.all()
    assert mix == {
        "mix/online": 0,
        "mix/intervention": 0,
        "mix/demo": 1,
        "mix/human": 1,
    }


def test_sampling_is_a_function_of_the_generator():
    mixer = make_mixer()
    mixer.add(make_episode(SPEC, 0, 5, is_demo=True))
    mixer.add(make_episode(SPEC, 1, 5))
    one, _ = mixer.sample(rng(3, Stream.REPLAY, 7), 2)
    two, _ = mixer.sample(rng(3, Stream.REPLAY, 7), 2)
    np.testing.assert_array_equal(one.reward, two.reward)


def test_sample_guidance():
    mixer = make_mixer()
    mixer.add(make_episode(SPEC, 0, 2, is_demo=True))
    batch = mixer.sample_guidance(rng(0, Stream.GUIDANCE_REPLAY, 0), 3, 16)
    assert batch.reward.shape == (3, 16)
    assert batch.is_intervention.all()


def test_a_demonstration_with_policy_steps_is_refused():
    mixer = make_mixer()
    with pytest.raises(SpecError, match="demonstration 4 has 1 steps without is_intervention"):
        mixer.add(make_episode(SPEC, 4, 3, is_demo=True, flags=[True, False, True]))
    assert not len(mixer.guidance)


def test_configuration_errors():
    with pytest.raises(ConfigError, match="batch_size"):
        make_mixer(batch=0)
    with pytest.raises(ConfigError, match="online_fraction must be"):
        make_mixer(fraction=1.5)
    with pytest.raises(ConfigError, match="different columns"):
        Mixer(Replay(5, SPEC), Replay(5, SPEC, ("mc_return",)), 4)


def test_a_monte_carlo_return_is_in_the_unit_of_rewards():
    replays = [Replay(20, SPEC, ("mc_return",), discount=0.5) for _ in range(2)]
    mixer = Mixer(*replays, 8)
    episode = make_episode(SPEC, 0, 3, is_demo=True)
    mixer.add(episode)
    plain = mixer.sample_guidance(rng(0, Stream.REPLAY, 0), 1, 16)
    mixer.reward_scale = 4.0
    scaled = mixer.sample_guidance(rng(0, Stream.REPLAY, 0), 1, 16)
    np.testing.assert_allclose(scaled.columns["mc_return"], 4.0 * plain.columns["mc_return"])
