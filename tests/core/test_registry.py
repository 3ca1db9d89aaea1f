"""Names: unique, listed without importing, and helpful when wrong."""

import sys

import pytest

from silri.core.errors import SilriError, UnknownNameError, UsageError
from silri.core.registry import Entry, Registry, unknown_name

FRUIT = Registry(
    "fruit",
    [
        Entry("apple", "fractions:Fraction", "round"),
        Entry("apricot", "colorsys:no_such_attribute", "small"),
        Entry("banana", "silri.no_such_module:Banana", "bent"),
    ],
)


def test_a_name_loads_what_it_stands_for():
    from fractions import Fraction

    assert FRUIT.load("apple") is Fraction


def test_listing_imports_nothing():
    sys.modules.pop("colorsys", None)
    assert FRUIT.names() == ["apple", "apricot", "banana"]
    assert [entry.summary for entry in FRUIT] == ["round", "small", "bent"]
    assert "colorsys" not in sys.modules


def test_a_wrong_name_lists_the_right_ones_and_the_nearest():
    with pytest.raises(UnknownNameError) as caught:
        FRUIT.get("aple")
    assert str(caught.value) == (
        "unknown fruit 'aple'. Did you mean 'apple'? Known: apple, apricot, banana."
    )
    assert isinstance(caught.value, UsageError)  # exit code 2


def test_a_name_like_none_of_them_gets_no_suggestion():
    error = unknown_name("fruit", "xyz", FRUIT.names())
    assert isinstance(error, SilriError)
    assert "Did you mean" not in str(error)
    assert "Known: apple" in str(error)


def test_two_entries_of_one_name_are_a_bug():
    entry = Entry("apple", "fractions:Fraction", "")
    with pytest.raises(ValueError, match="'apple' is registered twice"):
        Registry("fruit", [entry, entry])


def test_a_row_that_points_nowhere_fails_when_it_is_loaded():
    with pytest.raises(AttributeError, match="no_such_attribute"):
        FRUIT.load("apricot")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        FRUIT.load("banana")
