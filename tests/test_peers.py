"""The parts of benchmarks/peers that need no LeRobot."""

import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest

PEERS = Path(__file__).resolve().parents[1] / "benchmarks" / "peers"


@pytest.fixture
def wire():
    spec = importlib.util.spec_from_file_location("peers_wire", PEERS / "wire.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_message_arrives_as_it_was_sent(wire):
    stream = io.BytesIO()
    arrays = {"q": np.arange(6, dtype=np.float32).reshape(2, 3).T, "n": np.zeros((0, 2))}
    wire.send(stream, {"op": "update", "repeat": 2}, arrays)
    wire.send(stream, {"op": "q"})
    stream.seek(0)
    header, received = wire.receive(stream)
    assert header == {"op": "update", "repeat": 2}
    for name, array in arrays.items():
        np.testing.assert_array_equal(received[name], array)
        assert received[name].dtype == array.dtype
    assert wire.receive(stream) == ({"op": "q"}, {})


def test_half_a_message_is_the_end_of_the_other_process(wire):
    stream = io.BytesIO()
    wire.send(stream, {"op": "mean"}, {"features": np.ones(3)})
    for length in (0, 5, len(stream.getvalue()) - 1):
        with pytest.raises(EOFError):
            wire.receive(io.BytesIO(stream.getvalue()[:length]))
