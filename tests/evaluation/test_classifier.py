"""The report about a success classifier: its numbers, and its page."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from matplotlib.image import imread

from silri.core.errors import DataError
from silri.evaluation.classifier import (
    Judged,
    area_under_curve,
    as_text,
    calibration_curve,
    judge_attempts,
)
from silri.evaluation.classifier_page import PER_EPISODE, SHOWN, as_page, worst
from silri.rewards.classifier import Known
from silri.rewards.config import FitConfig
from silri.rewards.examples import NONE, SUCCESS, Attempt


class Written:
    """A classifier whose answers are the first pixel of a frame, in hundredths."""

    def __init__(self, threshold=0.5, negatives=500, false=5):
        self.sight = lambda row: row
        self.known = Known(
            config=FitConfig(),
            scale=1.0,
            shift=0.0,
            threshold=threshold,
            data=("somewhere",),
            held_out=(),
            fitted=("a", "b", "c"),
            chosen_on={"positives": 40, "negatives": negatives, "false_positives": false},
        )

    def probabilities(self, rows):
        return np.array([row["front"][0, 0, 0] / 100 for row in rows])


def attempt(number, said, labels):
    frames = np.zeros((len(said), 4, 4, 3), np.uint8)
    frames[:, 0, 0, 0] = np.round(np.array(said) * 100)
    labels = np.array(labels, np.int8)
    return Attempt("data/set", number, bool(labels[-1] == 1), {"front": frames}, labels)


ATTEMPTS = [
    attempt(0, [0.9, 0.1, 0.2, 0.3, 0.8, 0.9], [0, 0, 0, -1, 1, 1]),  # in time
    attempt(1, [0.1, 0.1, 0.7, 0.9, 0.9, 0.9], [0, 0, -1, -1, 1, 1]),  # two steps early
    attempt(2, [0.1, 0.1, 0.1, 0.1, 0.2, 0.9], [0, 0, 0, -1, 1, 1]),  # missed: one is not two
    attempt(3, [0.1, 0.9, 0.1, 0.9, 0.1, 0.1], [0] * 6),  # twice one frame: no harm
    attempt(4, [0.1, 0.1, 0.6, 0.7, 0.1, 0.1], [0] * 6),  # called one
]


@pytest.fixture
def trust():
    return judge_attempts(Written(), ATTEMPTS, consecutive=2)


def test_an_episode_is_called_at_the_last_of_enough_frames():
    said = np.array([0.9, 0.9, 0.1, 0.9, 0.9, 0.9])
    judged = Judged(ATTEMPTS[3], said)
    assert judged.called_at(0.5, 1) == 1
    assert judged.called_at(0.5, 2) == 4  # the frame of the reset is nobody's to judge
    assert judged.called_at(0.5, 4) is None


def test_frames_and_episodes_are_counted(trust):
    assert (trust.positives, trust.negatives) == (6, 8 + 12)
    assert trust.false_positives == 1 + 2 + 2
    assert trust.recall == pytest.approx(5 / 6)
    assert trust.precision == pytest.approx(5 / 10)
    assert trust.calls(success=True) == [5, 3, None]
    assert trust.calls(success=False) == [None, 3]


def test_the_table_says_what_a_run_would_do(trust):
    text = re.sub(" +", " ", as_text(trust, Written()))
    assert "judged here 3 successes, 2 failures" in text
    assert "failures called a success 1 of 2" in text
    assert "successes missed 1 of 3" in text
    assert "+0 steps after the first frame that shows one (median); 1 too early, by up to 1" in text
    assert "false positives 5 of 20 frames: 0.2500 [" in text
    assert "chosen for a rate of 0.01 on 500 frames: 5 are called a success" in text
    assert "record more failures to be surer" in text  # 5 of 500 may be 2.3 %
    surer = as_text(trust, Written(negatives=50_000, false=400))
    assert "record more failures" not in surer


def test_the_area_is_the_chance_of_the_right_order():
    assert area_under_curve(np.array([0.9, 0.8]), np.array([0.1, 0.7])) == 1.0
    assert area_under_curve(np.array([0.1]), np.array([0.9])) == 0.0
    assert area_under_curve(np.array([0.5]), np.array([0.5, 0.4])) == 0.75


def test_a_calibration_curve_has_the_share_of_every_bin():
    probabilities = np.array([0.02, 0.04, 0.55, 1.0])
    rows = calibration_curve(probabilities, np.array([0, 1, 1, 1]))
    assert rows == (
        (pytest.approx(0.03), 0.5, 2),
        (pytest.approx(0.55), 1.0, 1),
        (1.0, 1.0, 1),
    )


def test_the_gallery_has_the_worst_mistakes(trust):
    false = worst(trust, NONE)
    assert [frame.probability for frame in false] == sorted(
        (frame.probability for frame in false), reverse=True
    )
    assert {(frame.attempt.number, frame.index) for frame in false} == {
        (0, 0),
        (3, 1),
        (3, 3),
        (4, 2),
        (4, 3),
    }
    assert [(frame.attempt.number, frame.index) for frame in worst(trust, SUCCESS)] == [(2, 4)]
    many = [attempt(n, [0.9] * 6, [0] * 6) for n in range(20)]
    crowded = worst(judge_attempts(Written(), [ATTEMPTS[0], *many], 2), NONE)
    assert len(crowded) == SHOWN
    assert max(sum(f.attempt is g.attempt for g in crowded) for f in crowded) == PER_EPISODE


def test_the_page_is_whole_in_itself(trust):
    page = as_page(trust, Written(), "drawer <1>")
    assert "drawer &lt;1&gt;" in page
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)
    assert "<script" not in page
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) == 1 + 5 + 1
    assert "p = 0.200, episode 2, step 4 of 5, data/set" in page
    shown = imread(io.BytesIO(base64.b64decode(pictures[-1])))
    assert round(float(shown[0, 0, 0]) * 255) == 20  # the frame itself


@pytest.mark.parametrize("chosen", [slice(0, 3), slice(3, 5)])
def test_one_class_is_refused_with_the_counts(chosen):
    wins = sum(a.success for a in ATTEMPTS[chosen])
    losses = len(ATTEMPTS[chosen]) - wins
    with pytest.raises(DataError, match=f"there are {wins} successes and {losses} failures"):
        judge_attempts(Written(), ATTEMPTS[chosen], 2)
