from __future__ import annotations

import numpy as np
import pytest

from silri.core.errors import DataError
from silri.vision.projection import fit


def maps(count=40, size=30, rank=5, seed=0):
    rng = np.random.default_rng(seed)
    spread = rng.normal(size=(count, rank)) * [9.0, 5.0, 3.0, 2.0, 1.0][:rank]
    return (spread @ rng.normal(size=(rank, size)) + 7.0).astype(np.float32)


def features(projection, rows):
    return (rows - projection.mean) @ projection.weights


def test_components_have_mean_0_and_deviation_1_and_do_not_repeat_each_other():
    rows = maps()
    found = features(fit(rows, 5), rows)
    np.testing.assert_allclose(found.mean(0), 0.0, atol=1e-3)
    np.testing.assert_allclose(found.T @ found / len(rows), np.eye(5), atol=1e-3)


def test_they_are_the_principal_ones():
    """As numpy's singular vectors are, up to their sign."""
    rows = maps()
    centred = rows - rows.mean(0)
    _, singular, right = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ right[:3].T / (singular[:3] / np.sqrt(len(rows)))
    found = features(fit(rows, 3), rows)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=2e-3)


def test_what_does_not_vary_is_not_blown_up():
    """Columns beyond the rank are zero: the noise of floats is nothing to look at."""
    rows = maps(rank=2)
    projection = fit(rows, 6)
    assert (projection.weights[:, 2:] == 0).all()
    assert (projection.weights[:, :2] != 0).any(axis=0).all()


def test_frames_that_are_all_alike_give_nothing_to_see():
    projection = fit(np.ones((4, 10), np.float32), 3)
    assert (projection.weights == 0).all()


def test_fewer_frames_than_numbers_are_enough():
    rows = maps(count=3, size=30, rank=2)
    projection = fit(rows, 8)
    assert projection.weights.shape == (30, 8)
    assert np.isfinite(projection.weights).all()


def test_one_frame_is_too_few():
    with pytest.raises(DataError, match="1 frames are too few"):
        fit(np.ones((1, 4), np.float32), 2)
