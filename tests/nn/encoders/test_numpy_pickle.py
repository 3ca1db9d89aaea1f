"""Pickled trees of arrays, such as SERL's weights, are read and not run."""

from __future__ import annotations

import os
import pickle

import jax.numpy as jnp
import numpy as np
import pytest

from silri.core.errors import DataError
from silri.nn.encoders.numpy_pickle import read_numpy_pickle


def tree() -> dict:
    kernel = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    block = {"kernel": np.asfortranarray(kernel[0]), "bias": kernel[0, 0].astype(">f8")}
    return {"conv_init": {"kernel": kernel}, "block": {"deep": block}, "jax": jnp.ones((2, 2)) * 3}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_get_the_paths_to_them(tmp_path, protocol):
    path = tmp_path / "params.pkl"
    path.write_bytes(pickle.dumps(tree(), protocol=protocol))
    found = read_numpy_pickle(path)
    assert set(found) == {"conv_init/kernel", "block/deep/kernel", "block/deep/bias", "jax"}
    np.testing.assert_array_equal(found["conv_init/kernel"], tree()["conv_init"]["kernel"])
    np.testing.assert_array_equal(found["block/deep/kernel"], tree()["block"]["deep"]["kernel"])
    np.testing.assert_array_equal(found["block/deep/bias"], [0, 1, 2, 3])
    np.testing.assert_array_equal(found["jax"], [[3, 3], [3, 3]])
    assert found["conv_init/kernel"].dtype == np.float32


class Command:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_a_pickle_that_wants_to_run_something_is_refused_and_not_run(tmp_path):
    path = tmp_path / "params.pkl"
    path.write_bytes(pickle.dumps({"kernel": Command(f"touch {tmp_path / 'ran'}")}))
    with pytest.raises(DataError, match=r"params.pkl: refused, for it has the name 'posix.system'"):
        read_numpy_pickle(path)
    assert not (tmp_path / "ran").exists()


def endless() -> dict:
    top: dict = {}
    top["again"] = top
    return top


def many() -> dict:
    """A billion places, in a kilobyte."""
    level: dict = {}
    for _ in range(9):
        level = {str(index): level for index in range(10)}
    return level


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        ({"a": 1.0}, "a float where a dict belongs"),
        ({"a": np.array([{}], dtype=object)}, "the dtype 'O8'"),
        ({3: np.ones(2)}, "an int where a str belongs"),
        (np.ones(2), "an Array where a dict belongs"),
        (endless(), "more than 10000 entries"),
        (many(), "more than 10000 entries"),
    ],
)
def test_what_is_no_tree_of_arrays_is_refused(tmp_path, thing, words):
    path = tmp_path / "params.pkl"
    path.write_bytes(pickle.dumps(thing))
    with pytest.raises(DataError) as error:
        read_numpy_pickle(path)
    assert words in str(error.value)


def test_a_file_that_is_cut_off_anywhere_names_itself(tmp_path):
    path = tmp_path / "params.pkl"
    whole = pickle.dumps({"a": {"kernel": np.ones((2, 3), np.float32)}})
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"params\.pkl: (cut off|refused)"):
            read_numpy_pickle(path)
