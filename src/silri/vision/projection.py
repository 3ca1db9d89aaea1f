"""From an encoder's map to a few numbers: principal components of what the demonstrations show.

A map of 8 x 8 cells and 112 channels says where things are, in 7,168 numbers that mostly repeat
each other. Its principal components over the demonstrations keep what moves: the arm, the object,
the light on both. Each is divided by its own deviation, so that a small object counts as much as
a large arm.
"""

from __future__ import annotations

import numpy as np
from flax import struct

from silri.core.errors import DataError

# Of the largest component's deviation: what varies by less is noise, and is not blown up to 1.
FLOOR = 1e-3


class Projection(struct.PyTreeNode):
    """An affine map of one camera's flattened maps, (N, M) -> (N, F).

    Attributes:
        mean: (M,) float32 of the maps.
        weights: (M, F) float32; columns beyond the rank of what it was fitted on are zero.
    """

    mean: np.ndarray
    weights: np.ndarray


def fit(maps: np.ndarray, size: int) -> Projection:
    """The projection on the first ``size`` principal components, each of deviation 1.

    Args:
        maps: (N, M), flattened, of the demonstrations' frames.
        size: F.

    Raises:
        DataError: fewer than two frames.
    """
    if len(maps) < 2:
        raise DataError(f"{len(maps)} frames are too few to fit what is seen on; it takes two")
    mean = maps.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = maps - mean
    # By the smaller of the two Gram matrices: frames are fewer than numbers of a map.
    gram = (centred @ centred.T).astype(np.float64) / len(maps)
    values, vectors = np.linalg.eigh(gram)
    order = np.argsort(values)[::-1][:size]
    deviations = np.sqrt(np.maximum(values[order], 0.0))
    kept = deviations > FLOOR * deviations[0] if deviations[0] > 0 else np.zeros(len(order), bool)
    order, deviations = order[kept], deviations[kept]
    # A component is a direction of length 1; a second division makes its deviation 1.
    scale = np.sqrt(len(maps)) * deviations * deviations
    weights = np.zeros((maps.shape[1], size), np.float32)
    weights[:, : len(order)] = (centred.T @ (vectors[:, order] / scale)).astype(np.float32)
    return Projection(mean, _with_signs(weights))


def _with_signs(weights: np.ndarray) -> np.ndarray:
    """Eigenvectors have no sign of their own: let the largest entry be positive."""
    largest = weights[np.abs(weights).argmax(axis=0), np.arange(weights.shape[1])]
    signed: np.ndarray = weights * np.where(largest < 0, np.float32(-1), np.float32(1))
    return signed
