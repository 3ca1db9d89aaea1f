from __future__ import annotations

import json
import math

import numpy as np
import pytest

from silri.core.errors import DataError
from silri.runtime.pace.histogram import BUCKETS, GROWTH, HIGHEST_S, LOWEST_S, Histogram


def of(*values):
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


@pytest.mark.parametrize("q", [0, 1, 50, 90, 99, 99.9, 100])
def test_percentiles_are_within_a_percent_of_the_exact_ones(q):
    values = np.random.default_rng(0).lognormal(math.log(0.01), 1.5, 4_987)
    exact = np.percentile(values, q, method="inverted_cdf")
    assert of(*values).percentile(q) == pytest.approx(exact, rel=GROWTH - 1)


def test_extremes_and_mean_are_exact():
    histogram = of(0.05, 0.0501, 0.2)
    assert (histogram.least, histogram.most) == (0.05, 0.2)
    assert (histogram.percentile(0), histogram.percentile(100)) == (0.05, 0.2)
    assert histogram.mean == pytest.approx(0.3001 / 3)


def test_one_value_is_every_percentile():
    histogram = of(0.05)
    assert {histogram.percentile(q) for q in (0, 1, 50, 99, 100)} == {0.05}


@pytest.mark.parametrize("value", [-1.0, 0.0, LOWEST_S / 2, LOWEST_S])
def test_what_is_too_short_counts_in_the_first_bucket(value):
    histogram = of(value)
    assert histogram.counts()[0] == histogram.count == 1
    assert histogram.percentile(50) == histogram.least == value


@pytest.mark.parametrize("value", [HIGHEST_S, 1e6])
def test_what_is_too_long_counts_in_the_last_bucket(value):
    histogram = of(value)
    assert histogram.counts()[-1] == 1
    assert histogram.percentile(99) == value


def test_the_buckets_cover_the_range_without_gaps():
    edges = Histogram.edges()
    assert len(edges) == BUCKETS + 1
    assert edges[0] == LOWEST_S
    assert edges[-1] >= HIGHEST_S
    for index in (0, 1, 700, BUCKETS - 1):
        middle = math.sqrt(edges[index] * edges[index + 1])
        assert of(middle).counts()[index] == 1


def test_merging_is_recording_everything():
    a, b = [0.001, 0.02, 0.05], [0.05, 3.0]
    merged = of(*a)
    merged.merge(of(*b))
    assert merged.to_json() == of(*a, *b).to_json()
    merged.merge(Histogram())
    assert merged.count == 5


def test_the_counts_are_a_copy():
    histogram = of(0.05)
    histogram.counts()[:] = 7
    assert histogram.counts().sum() == 1


def test_empty():
    histogram = of(0.1)
    histogram.clear()
    assert math.isnan(histogram.percentile(50))
    assert math.isnan(histogram.mean)
    assert histogram.describe() == "n 0"
    assert Histogram.from_json(json.loads(json.dumps(histogram.to_json()))).count == 0


def test_describe_is_in_milliseconds():
    row = of(*[0.05] * 99, 0.2).describe()
    assert row.startswith("n 100  p50 50.")
    assert row.endswith("max 200.000 ms")


def test_json_keeps_everything():
    histogram = of(-0.1, 1e-6, 0.05, 0.05, 0.0512, 1e3)
    text = json.dumps(histogram.to_json(), allow_nan=False)
    again = Histogram.from_json(json.loads(text))
    assert again.to_json() == histogram.to_json()
    again.record(0.1)
    assert again.count == 7


@pytest.mark.parametrize(
    "change",
    [
        {"growth": 1.02},
        {"count": 3},
        {"count": "many"},
        {"buckets": [[0, 1], [-1, 1]]},
        {"buckets": [[0, 1], [BUCKETS, 1]]},
        {"buckets": [[0, 1.5]]},
        {"buckets": None},
        {"most_s": None},
    ],
)
def test_a_damaged_one_is_refused(change):
    with pytest.raises(DataError, match="histogram"):
        Histogram.from_json(of(0.05, 0.06).to_json() | change)


def test_a_missing_field_is_refused():
    stored = of(0.05).to_json()
    del stored["count"]
    with pytest.raises(DataError, match="count"):
        Histogram.from_json(stored)
