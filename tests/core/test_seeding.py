"""Random draws: a function of (run, stream, indices), independent of one another."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from silri.core.seeding import Stream, derive_seed, rng

SEEDS = st.integers(0, 2**31 - 1)
TRAINING = [stream for stream in Stream if stream is not Stream.EVALUATION_LAYOUT]


@given(SEEDS, st.sampled_from(list(Stream)), st.integers(0, 10**9))
def test_the_same_words_draw_the_same_numbers(seed, stream, index):
    first, second = rng(seed, stream, index), rng(seed, stream, index)
    np.testing.assert_array_equal(first.random(4), second.random(4))
    assert derive_seed(seed, stream, index) == derive_seed(seed, stream, index)


def test_every_run_stream_and_index_draws_its_own_numbers():
    words = itertools.product(range(4), Stream, range(50))
    draws = {float(rng(seed, stream, index).random()) for seed, stream, index in words}
    assert len(draws) == 4 * len(Stream) * 50


def test_the_order_and_number_of_words_matter():
    draws = [
        derive_seed(0, Stream.REPLAY),
        derive_seed(0, Stream.REPLAY, 0),
        derive_seed(0, Stream.REPLAY, 0, 0),
        derive_seed(0, Stream.REPLAY, 1, 2),
        derive_seed(0, Stream.REPLAY, 2, 1),
    ]
    assert len(set(draws)) == len(draws)


def test_neighbouring_streams_are_uncorrelated():
    # |r| of 10,000 independent pairs exceeds 0.05 once in a million.
    draws = np.stack([rng(0, stream, 7).standard_normal(10_000) for stream in Stream])
    correlation = np.corrcoef(draws) - np.eye(len(draws))
    assert np.abs(correlation).max() < 0.05


def test_neighbouring_indices_are_uncorrelated_and_uniform():
    first = np.asarray([rng(0, Stream.REPLAY, index).random() for index in range(5000)])
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 0.06
    assert abs(first.mean() - 0.5) < 0.02
    assert abs(first.var() - 1 / 12) < 0.01


@given(SEEDS, st.sampled_from(TRAINING), st.integers(0, 10**6), st.integers(0, 10**6))
def test_training_never_draws_an_evaluation_layout(seed, stream, index, episode):
    training = derive_seed(seed, stream, index)
    evaluation = derive_seed(seed, Stream.EVALUATION_LAYOUT, episode)
    assert 0 <= training < 1 << 30 <= evaluation < 1 << 31


@given(SEEDS, SEEDS, st.integers(0, 1000))
def test_every_run_is_evaluated_on_the_same_layouts(one, other, episode):
    stream = Stream.EVALUATION_LAYOUT
    assert derive_seed(one, stream, episode) == derive_seed(other, stream, episode)


def test_evaluation_layouts_differ_from_one_another():
    seeds = {derive_seed(0, Stream.EVALUATION_LAYOUT, episode) for episode in range(1000)}
    assert len(seeds) > 990  # 30 bits: a collision is possible, a pattern is not


def test_stream_numbers_are_part_of_the_run_format():
    assert {stream.name: stream.value for stream in Stream} == {
        "NETWORK_INIT": 1,
        "TRAIN_LAYOUT": 2,
        "DEMO_LAYOUT": 3,
        "EVALUATION_LAYOUT": 4,
        "TRAIN_OPERATOR": 5,
        "DEMO_OPERATOR": 6,
        "ACTION_NOISE": 7,
        "REPLAY": 8,
        "PRETRAIN_REPLAY": 9,
        "GUIDANCE_REPLAY": 10,
        "UPDATE": 11,
        "DISTURBANCE": 12,
        "REWARD_SPLIT": 21,
        "REWARD_NETWORK": 22,
        "INSTRUCTION": 31,
    }


def test_a_stored_run_can_be_drawn_again():
    """Frozen values: changing the mixing would make every stored run unresumable."""
    assert derive_seed(0, Stream.TRAIN_LAYOUT, 0) == 358462433
    assert rng(7, Stream.REPLAY, 12, 3).integers(0, 1000, 4).tolist() == [464, 932, 372, 552]
