from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from silri.core.errors import SpecError
from silri.core.values import number, numbers, truth


@pytest.mark.parametrize(
    "value", [1, 1.0, True, np.float32(1), np.array(1), np.array([1.0]), np.array([[1]]), [1]]
)
def test_one_number_however_it_is_wrapped(value):
    assert number("reward", value) == 1.0
    assert truth("terminated", value) is True


@pytest.mark.parametrize(
    "value", [None, "1", "False", {}, {"a": 1}, [], [1, 1], np.zeros(2), 1j, [[1], [1, 2]], 10**400]
)
def test_what_is_no_number_is_named(value):
    for read, name in ((number, "the reward"), (truth, "terminated")):
        with pytest.raises(SpecError, match=rf"{name} is .*; it takes "):
            read(name, value)


@pytest.mark.parametrize("value", [0.3, 2, -1, float("nan"), np.array([0.5])])
def test_a_number_that_is_no_truth_value(value):
    number("reward", value)
    with pytest.raises(SpecError, match=r"success is .*; it takes True or False \(or 1 or 0\)"):
        truth("success", value)


@pytest.mark.parametrize("value", ["abc", ["1"], None, {"a": 1}, [1j], [[1], [1, 2]], [b"1"]])
def test_an_array_of_something_else_is_named(value):
    with pytest.raises(SpecError, match="'observation.state' is .*; it takes numbers"):
        numbers("observation.state", value)


def test_arrays_of_numbers_are_taken_as_they_are():
    for array in (np.arange(3), np.ones(2, bool), np.zeros((2, 0), np.float16)):
        assert numbers("x", array) is array
    objects = np.array([Fraction(1, 2), None], object)
    np.testing.assert_array_equal(numbers("x", objects), [0.5, np.nan])
