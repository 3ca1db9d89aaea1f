"""Observations in memory, each stored once however many transitions point at it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from silri.core.specs import ArraySpec

BLOCK = 1024  # frames of one piece of memory; pieces are allocated as they are needed


class Frames:
    """A ring of observations: vectors in one array per dtype, images and maps in pieces.

    Attributes:
        capacity: observations it can hold.
        written: observations ever appended; the number ``n`` of one is where it was appended, and
            it is there until ``n + capacity`` is.
    """

    def __init__(self, spec: Mapping[str, ArraySpec], capacity: int) -> None:
        """An empty ring for observations of ``spec``."""
        self.capacity, self.written = capacity, 0
        # key -> (dtype, first column, last column, shape)
        self._places: dict[str, tuple[str, int, int, tuple[int, ...]]] = {}
        widths = {"float32": 0}
        for key, array in spec.items():
            if array.is_vector:
                first = widths.get(array.dtype, 0)
                last = first + int(np.prod(array.shape, dtype=np.int64))
                self._places[key] = (array.dtype, first, last, array.shape)
                widths[array.dtype] = last
        self._separate = {k: array for k, array in spec.items() if k not in self._places}
        rows = min(BLOCK, capacity)
        self._packed = {dtype: np.empty((rows, width), dtype) for dtype, width in widths.items()}
        self._blocks: dict[str, dict[int, np.ndarray]] = {key: {} for key in self._separate}

    def append(self, observations: Mapping[str, np.ndarray]) -> np.ndarray:
        """Add n observations (n, *shape), 1 <= n <= ``capacity``; returns their numbers (n,)."""
        count = len(next(iter(observations.values())))
        numbers = self.written + np.arange(count)
        slots = numbers % self.capacity
        self._grow(int(slots.max()) + 1)
        for key, (dtype, first, last, _) in self._places.items():
            self._packed[dtype][slots, first:last] = observations[key].reshape(count, last - first)
        for key, array in self._separate.items():
            blocks = self._blocks[key]
            for row, slot in enumerate(slots.tolist()):
                piece, index = divmod(slot, BLOCK)
                if piece not in blocks:
                    blocks[piece] = np.empty((BLOCK, *array.shape), array.dtype)
                blocks[piece][index] = observations[key][row]
        self.written += count
        return numbers

    def gather(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """The observations with these ``numbers`` (any shape), key to (*numbers.shape, *shape).

        Every array is a fresh copy.
        """
        slots = numbers.reshape(-1) % self.capacity
        rows = {dtype: np.take(packed, slots, axis=0) for dtype, packed in self._packed.items()}
        result = {
            key: rows[dtype][:, first:last].reshape(*numbers.shape, *shape)
            for key, (dtype, first, last, shape) in self._places.items()
        }
        if len(result) > 1:  # each contiguous and of its own
            result = {key: np.ascontiguousarray(value) for key, value in result.items()}
        for key, array in self._separate.items():
            out = np.empty((slots.size, *array.shape), array.dtype)
            for row, slot in enumerate(slots.tolist()):
                piece, index = divmod(slot, BLOCK)
                out[row] = self._blocks[key][piece][index]
            result[key] = out.reshape(*numbers.shape, *array.shape)
        return result

    def _grow(self, needed: int) -> None:
        """Room for slots below ``needed``: twice as many as now, at most the capacity."""
        rows = len(self._packed["float32"])
        if needed <= rows:
            return
        size = min(max(2 * rows, needed), self.capacity)
        for dtype, packed in self._packed.items():
            grown = np.empty((size, packed.shape[1]), dtype)
            grown[:rows] = packed
            self._packed[dtype] = grown
