from __future__ import annotations

import msgpack
import pytest

from silri.core.errors import DataError
from silri.runtime.cluster.parameters import Parameters, pack, unpack, write_parameters

PARAMETERS = Parameters(17, bytes(range(256)))


def test_round_trip(tmp_path):
    write_parameters(tmp_path / "policy", pack(PARAMETERS))
    assert unpack((tmp_path / "policy").read_bytes(), "") == PARAMETERS
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]


def test_flipped_bits_of_the_arrays_are_noticed():
    data = pack(PARAMETERS)
    start = data.index(PARAMETERS.arrays)
    for position in range(start, start + 256, 7):
        damaged = bytearray(data)
        damaged[position] ^= 1
        with pytest.raises(DataError, match="the file does not match its checksum"):
            unpack(bytes(damaged), "the file")


@pytest.mark.parametrize("version", ["3", None, 2.5])
def test_a_version_is_a_whole_number(version):
    data = msgpack.packb({**msgpack.unpackb(pack(PARAMETERS)), "version": version})
    with pytest.raises(DataError, match="the file"):
        unpack(data, "the file")


def test_a_flipped_version_is_noticed():
    """A version that is too high would keep all later parameters away."""
    data = msgpack.packb({**msgpack.unpackb(pack(PARAMETERS)), "version": 1_000_000})
    with pytest.raises(DataError, match="the file does not match its checksum"):
        unpack(data, "the file")


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1", b"{}", pack(PARAMETERS)[:-1], msgpack.packb([1]), msgpack.packb({"version": 1})],
)
def test_what_is_no_parameters_is_refused_by_name(data):
    with pytest.raises(DataError, match="the file"):
        unpack(data, "the file")
