"""The parts of benchmarks/peers that need no LeRobot."""

import importlib
import io
import sys

import numpy as np
import pytest

from silri.core.specs import ActionSpec, ArraySpec, EnvSpec
from silri.core.transition import fake_batch
from tests.source import ROOT

PEERS = ROOT / "benchmarks" / "peers"
SPEC = EnvSpec("peers", {"state": ArraySpec((7,))}, ActionSpec(4, (3,)), 10)
STATISTICS = {"state": (np.full(7, 0.5, np.float32), np.full(7, 2.0, np.float32))}


@pytest.fixture
def peers(monkeypatch):
    """Modules of benchmarks/peers by name; they import each other by theirs."""
    monkeypatch.syspath_prepend(PEERS)
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if (PEERS / f"{name}.py").exists():
            del sys.modules[name]


@pytest.fixture
def wire(peers):
    return peers("wire")


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


@pytest.mark.slow
def test_silris_side_learns_and_hands_lerobot_the_same_weights(peers):
    learners = peers("learners")
    batch = fake_batch(SPEC, (learners.EQUAL.utd, learners.EQUAL.batch_size))
    last = batch._replace(**{name: getattr(batch, name)[-1] for name in ("action", "reward")})
    last = last._replace(observation={"state": batch.observation["state"][-1]})
    learner = learners.Silri(SPEC, STATISTICS, 0, learners.Setting())
    before = learner.q(last)
    assert before.shape == (learners.EQUAL.critics, learners.EQUAL.batch_size)
    assert learner.noise(5).shape == (learners.EQUAL.utd + 2, 5, 3)
    learner.start(batch)
    info = learner.finish()
    assert info.keys() == {"critic_loss", "grasp_loss", "actor_loss", "temperature"}
    assert np.isfinite(list(info.values())).all()
    assert np.abs(learner.q(last) - before).max() > 1e-6
    observation = {"state": np.zeros(7, np.float32)}
    assert learner.act(observation, 0, 0).shape == learner.mean(observation).shape == (4,)

    weights = learners.lerobot_weights(learner.agent)
    first = weights["critic_ensemble.critics.0.net.net.0.weight"]
    other = weights["critic_ensemble.critics.1.net.net.0.weight"]
    assert first.shape == other.shape == (256, 7 + 3)
    assert not np.array_equal(first, other)
    assert weights["actor.network.net.0.weight"].shape == (256, 7)
    assert weights["discrete_critic.output_layer.weight"].shape == (2, 256)
