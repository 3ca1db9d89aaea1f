"""torch.save's files are read without PyTorch, and nothing in them is run."""

from __future__ import annotations

import io
import os
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from silri.core.errors import DataError
from silri.nn.encoders.torch_file import read_torch

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class Global:
    """What pickles as a bare global name, whether there is such a thing here or not."""

    def __init__(self, name: str) -> None:
        self.module, self.attribute = name.rsplit(".", 1)


class Call:
    """What pickles as a call of a global name."""

    def __init__(self, name: str, *arguments) -> None:
        self.name, self.arguments = Global(name), arguments


class Stored:
    def __init__(self, key: str, count: int, kind: str = "torch.FloatStorage") -> None:
        self.identity = ("storage", Global(kind), key, "cpu", count)


class Writer(pickle._Pickler):
    """The pickles that PyTorch writes, and those that an attacker would, in protocol 2."""

    def save(self, thing, *rest, **kinds):
        if isinstance(thing, Global):
            self.write(f"c{thing.module}\n{thing.attribute}\n".encode())
        elif isinstance(thing, Call):
            self.save(thing.name)
            self.save(thing.arguments)
            self.write(pickle.REDUCE)
        elif isinstance(thing, Stored):
            self.save(thing.identity)
            self.write(pickle.BINPERSID)
        else:
            super().save(thing, *rest, **kinds)


def pickled(thing) -> bytes:
    stream = io.BytesIO()
    Writer(stream, 2).dump(thing)
    return stream.getvalue()


def tensor(stored, shape, strides, offset=0):
    made = "torch._utils._rebuild_tensor_v2"
    return Call(made, stored, offset, shape, strides, False, OrderedDict())


def write_zip(path, state, storages):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", pickled(state))
        archive.writestr("model/byteorder", "little")
        for key, array in storages.items():
            archive.writestr(f"model/data/{key}", array.tobytes())


def write_legacy(path, state, storages):
    head = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    parts = [pickled(part) for part in (MAGIC, PROTOCOL, head, state, list(storages))]
    parts += [struct.pack("<q", array.size) + array.tobytes() for array in storages.values()]
    path.write_bytes(b"".join(parts))


NUMBERS = np.arange(12, dtype="<f4")
WRITERS = pytest.mark.parametrize("write", [write_zip, write_legacy])


@WRITERS
def test_views_of_a_storage_are_told_apart(tmp_path, write):
    stored = Stored("7", 12)
    state = OrderedDict(
        whole=tensor(stored, (3, 4), (4, 1)),
        transposed=tensor(stored, (4, 3), (1, 4)),
        part=tensor(stored, (2,), (1,), offset=10),
        scalar=tensor(Stored("8", 1, "torch.LongStorage"), (), ()),
        nothing=tensor(stored, (0,), (1,)),
        parameter=Call(
            "torch._utils._rebuild_parameter", tensor(stored, (2,), (3,)), True, OrderedDict()
        ),
    )
    write(tmp_path / "w.pth", state, {"7": NUMBERS, "8": np.array([5], "<i8")})
    found = read_torch(tmp_path / "w.pth")
    np.testing.assert_array_equal(found["whole"], NUMBERS.reshape(3, 4))
    np.testing.assert_array_equal(found["transposed"], NUMBERS.reshape(3, 4).T)
    np.testing.assert_array_equal(found["part"], [10, 11])
    np.testing.assert_array_equal(found["parameter"], [0, 3])
    assert found["scalar"] == 5
    assert found["scalar"].dtype == np.int64
    assert found["nothing"].shape == (0,)


@pytest.mark.parametrize("zipped", [True, False])
def test_what_pytorch_writes_is_what_is_read(tmp_path, zipped):
    torch = pytest.importorskip("torch", reason="PyTorch is the extra 'bench'")
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).double()
    state = model.state_dict()
    state["half"] = torch.arange(6).half().reshape(2, 3).T
    path = tmp_path / "model.pt"
    torch.save({"state_dict": state}, path, _use_new_zipfile_serialization=zipped)
    found = read_torch(path)
    assert list(found) == list(state)
    for name, value in state.items():
        assert found[name].dtype == value.numpy().dtype
        np.testing.assert_array_equal(found[name], value.numpy())


@WRITERS
@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "builtins.getattr", "posix.system"])
def test_a_pickle_that_wants_to_run_something_is_refused_and_not_run(tmp_path, write, name):
    proof = tmp_path / "ran"
    write(tmp_path / "w.pth", {"weight": Call(name, f"touch {proof}")}, {})
    with pytest.raises(DataError) as error:
        read_torch(tmp_path / "w.pth")
    assert f"{tmp_path / 'w.pth'}: refused, for it has the name '{name}'" in str(error.value)
    assert not proof.exists()


def test_the_usual_loader_would_have_run_it(tmp_path):
    """The test above says something: its pickle does what it says when it is loaded."""
    proof = tmp_path / "ran"
    data = pickled({"weight": Call("os.system", f"touch {proof}")})
    pickle.loads(data)  # noqa: S301 - written by this test, to be run
    assert proof.exists()


class Attributes:
    """What pickles as an object with attributes to set on whatever is made."""

    def __reduce__(self):
        return OrderedDict, (), {"update": "instead"}


@WRITERS
@pytest.mark.parametrize(
    ("state", "words"),
    [
        (tensor(Stored("7", 12), (4, 4), (4, 1)), "a dict of tensors"),
        ({}, "a dict of tensors"),
        ({"w": tensor(Stored("7", 12), (4, 4), (4, 1))}, "'w' that reaches beyond its storage"),
        ({"w": tensor(Stored("7", 12), (9,), (1,), 4)}, "beyond its storage"),
        ({"w": tensor(Stored("7", 12), (2,), (-1,), 4)}, "beyond its storage"),
        ({"w": tensor(Stored("7", 12), (2,), (1,), -1)}, "beyond its storage"),
        ({"w": tensor(Stored("7", 12), (10**12,), (0,))}, "beyond its storage"),
        ({"w": tensor(Stored("7", 10**15), (2,), (1,))}, "cut off"),
        ({"w": tensor("7", (2,), (1,))}, "a str where a Storage belongs"),
        ({"w": tensor(Stored("7", 12, "torch.OtherStorage"), (2,), (1,))}, "torch.OtherStorage"),
        ({"w": Call("torch.FloatStorage", 10**12)}, "a call with (1000000000000,)"),
        ({"w": Call("torch._utils._rebuild_tensor_v2")}, "cut off, damaged"),
        ({"epoch": 7}, "an entry 'epoch' that is no tensor"),
        ({"w": 10**400}, "an entry 'w' that is no tensor"),
    ],
)
def test_what_is_no_state_dict_is_refused(tmp_path, write, state, words):
    write(tmp_path / "w.pth", state, {"7": NUMBERS})
    with pytest.raises(DataError) as error:
        read_torch(tmp_path / "w.pth")
    assert str(error.value).startswith(str(tmp_path / "w.pth"))
    assert words in str(error.value)


def test_attributes_of_a_dict_are_left_out(tmp_path):
    write_zip(tmp_path / "w.pth", {"state_dict": Attributes()}, {})
    with pytest.raises(DataError, match="a dict of tensors"):
        read_torch(tmp_path / "w.pth")


def test_new_kinds_of_instructions_are_refused_by_name(tmp_path):
    path = tmp_path / "w.pth"
    path.write_bytes(b"\x80\x02cos\nsystem\n(U\x04true" + b"o.")
    with pytest.raises(DataError, match=r"the name 'os.system'"):
        read_torch(path)
    path.write_bytes(b"\x80\x02}(\x8c\x01a\x8c\x01bi" + b"os\nsystem\n.")
    with pytest.raises(DataError, match="the instruction INST"):
        read_torch(path)


@WRITERS
def test_a_file_that_is_cut_off_anywhere_names_itself(tmp_path, write):
    path = tmp_path / "w.pth"
    write(path, {"w": tensor(Stored("7", 12), (3, 4), (4, 1))}, {"7": NUMBERS})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"w\.pth: (cut off|refused)"):
            read_torch(path)


def test_a_zip_that_unpacks_to_more_than_it_is_is_refused(tmp_path):
    path = tmp_path / "w.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", pickled({"w": tensor(Stored("7", 12), (2,), (1,))}))
        archive.writestr("model/data/7", bytes(1_000_000))
    with pytest.raises(DataError, match="a compressed member"):
        read_torch(path)


def test_other_files_and_no_file(tmp_path):
    with pytest.raises(DataError, match=r"none\.pth: there is no such file"):
        read_torch(tmp_path / "none.pth")
    page = tmp_path / "page.pth"
    page.write_text("<!doctype html>")
    with pytest.raises(DataError, match=r"page\.pth: (cut off|refused)"):
        read_torch(page)


def test_reading_imports_neither_pickle_nor_torch():
    import subprocess

    code = "import sys, silri.nn.encoders.torch_file as t; print({'torch'} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert result.stdout.strip() == "set()"
