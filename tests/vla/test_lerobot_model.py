"""The wire to a feature server, and the process that it is. ``benchmarks/with_lerobot/features.sh``
has the real lerobot behind it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from silri.core.errors import BackboneFault, ConfigError
from silri.vla import files, lerobot_model
from silri.vla.backbone import Inputs, load_backbone
from silri.vla.config import VlaConfig
from silri.vla.serving import feature_server
from silri.vla.serving.feature_server import TOKEN, receive, send, serve
from tests.conftest import ROOT
from tests.fakes.models import feature_process

SECRET = "0123456789abcdef"
FRAME = np.full((8, 8, 3), 7, np.uint8)


@pytest.fixture(autouse=True)
def _no_server_stays():
    yield
    lerobot_model.close_servers()


@contextlib.contextmanager
def served(answer=feature_process.answer, described=None):
    """The settings of a server in this process."""
    listener = socket.create_server(("127.0.0.1", 0))
    told = described or feature_process.described()
    threading.Thread(target=_until_closed, args=(listener, told, answer), daemon=True).start()
    try:
        port = listener.getsockname()[1]
        yield VlaConfig(model="lerobot", server=f"127.0.0.1:{port}", timeout_s=5.0)
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _until_closed(listener, told, answer):
    with contextlib.suppress(OSError):  # the test is over
        serve(listener, SECRET, told, answer)


def asked(words="go", **changes):
    given = {"frames": {"front": FRAME}, "instruction": words, "state": np.ones(2, np.float32)}
    return Inputs(**given | changes)


@pytest.fixture
def secret(monkeypatch):
    monkeypatch.setenv(TOKEN, SECRET)


def test_an_answer_comes_over_the_wire(secret):
    with served() as config:
        backbone = load_backbone(config)
        assert (backbone.size, backbone.action_size, backbone.state_size) == (6, 3, 2)
        assert backbone.cameras == ("front",)
        found = backbone.embed(asked())
        np.testing.assert_array_equal(found.embedding, np.arange(6, dtype=np.float32) + 7)
        assert found.action is None
        acting = load_backbone(VlaConfig("lerobot", server=config.server, prior_action=True))
        np.testing.assert_array_equal(acting.embed(asked()).action, np.full(3, 2, np.float32))
        assert len(lerobot_model.servers()) == 1  # one connection for both


def test_a_wrong_token_is_refused(monkeypatch):
    monkeypatch.setenv(TOKEN, "f" * 16)
    with served() as config:
        with pytest.raises(ConfigError, match="refuses us: the token is wrong .SILRI_VLA_TOKEN"):
            load_backbone(config)
        monkeypatch.delenv(TOKEN)
        with pytest.raises(ConfigError, match="asks for its token: set SILRI_VLA_TOKEN"):
            load_backbone(config)


def test_nobody_there_is_said_at_once(secret):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    config = VlaConfig(model="lerobot", server=f"127.0.0.1:{port}")
    with pytest.raises(BackboneFault, match=rf"127\.0\.0\.1:{port} cannot be reached .*start it"):
        load_backbone(config)


def test_a_silent_server_has_a_deadline(secret):
    gate = threading.Event()
    with served(answer=lambda message: gate.wait(20) and {}) as config:
        backbone = load_backbone(VlaConfig("lerobot", server=config.server, timeout_s=0.3))
        began = time.monotonic()
        with pytest.raises(BackboneFault, match=r"has not answered within 0\.3 s .*has stopped"):
            backbone.embed(asked())
        assert time.monotonic() - began < 5
        with pytest.raises(BackboneFault, match="is closed"):
            backbone.embed(asked())  # an answer that comes late is nobody's
        gate.set()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda message: {"error": "CUDA out of memory"}, "has failed: CUDA out of memory"),
        (lambda message: {}, "answers without an embedding"),
        (lambda message: message["nothing"], "has failed: KeyError: 'nothing'"),
    ],
)
def test_a_server_that_fails_says_why(secret, answer, message):
    with served(answer=answer) as config:
        backbone = load_backbone(config)
        with pytest.raises(BackboneFault, match=message):
            backbone.embed(asked())


def test_another_protocol_is_refused(secret):
    told = feature_process.described() | {"protocol": 9}
    refusal = pytest.raises(ConfigError, match="speaks protocol 9; this silri 1: run the server")
    with served(described=told) as config, refusal:
        load_backbone(config)


def test_the_wire_takes_arrays_and_refuses_the_rest():
    here, there = socket.socketpair()
    with here, there:
        array = np.arange(6, dtype=np.float32).reshape(2, 3)
        send(here, {"a": array, "b": {"c": FRAME}, "d": None})
        found = receive(there)
        np.testing.assert_array_equal(found["a"], array)
        np.testing.assert_array_equal(found["b"]["c"], FRAME)
        send(here, {"a": np.zeros(2, np.float64)})
        with pytest.raises(ValueError, match="no array here has the dtype 'float64'"):
            receive(there)
        here.sendall((feature_server.LIMIT + 1).to_bytes(4, "big"))
        with pytest.raises(ValueError, match="are allowed"):
            receive(there)


# -- a server of our own --------------------------------------------------------------------------


@pytest.fixture
def python(tmp_path):
    """A Python that runs the fake in place of what it is given."""
    path = tmp_path / "python"
    fake = ROOT / "tests" / "fakes" / "models" / "feature_process.py"
    path.write_text(
        f"#!/bin/sh\nexport PYTHONPATH={ROOT}:{ROOT / 'src'}\n"
        f'exec {shlex.quote(sys.executable)} {fake} "$@"\n'
    )
    path.chmod(0o755)
    return path


def model(tmp_path, **told):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(told))
    save_file({"weight": np.zeros((2, 3), np.float32)}, folder / "model.safetensors")
    return str(folder)


def settings(tmp_path, python, told=None, **fields):
    weights = model(tmp_path, **told or {})
    return VlaConfig(model="lerobot", weights=weights, python=str(python), **fields)


def test_a_server_is_started_and_ends_with_us(tmp_path, python):
    backbone = load_backbone(settings(tmp_path, python))
    assert backbone.embed(asked()).embedding[0] == 7
    pid = lerobot_model.servers()[0].process_id
    assert pid is not None
    lerobot_model.close_servers()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not lerobot_model.servers()


def test_a_server_that_died_is_told_and_started_anew(tmp_path, python):
    config = settings(tmp_path, python)
    backbone = load_backbone(config)
    with pytest.raises(BackboneFault, match=r"lerobot .*model \(fake\) (has closed|is lost)"):
        backbone.embed(asked("die"))
    assert load_backbone(config).embed(asked()).embedding[0] == 7


def test_a_server_that_does_not_start_says_its_last_words(tmp_path, python):
    message = "ended with code 1; it needs lerobot .*No module named 'lerobot'"
    with pytest.raises(BackboneFault, match=message):
        load_backbone(settings(tmp_path, python, {"dies": True}))


def test_a_model_that_loads_too_long_has_a_deadline(tmp_path, python):
    with pytest.raises(BackboneFault, match=r"has not loaded the model within 0\.5 s"):
        load_backbone(settings(tmp_path, python, {"loads_long": True}, start_s=0.5))


def test_what_is_not_said_or_not_there_is_named(tmp_path, python, monkeypatch):
    with pytest.raises(ConfigError, match=r"takes vla\.python, the Python of an environment"):
        load_backbone(VlaConfig(model="lerobot", weights="x"))
    with pytest.raises(ConfigError, match=r"vla\.server has its own weights"):
        load_backbone(VlaConfig(model="lerobot", weights="x", server="127.0.0.1:9"))
    config = settings(tmp_path, "/no/such/python")
    with pytest.raises(ConfigError, match="vla.python '/no/such/python' cannot be run"):
        load_backbone(config)
    monkeypatch.setattr(files, "free_memory", lambda: 10**8)
    with pytest.raises(
        ConfigError, match=r"needs about 0\.5 GB; 0\.1 GB are free: .*--vla\.server"
    ):
        load_backbone(config)


def test_the_server_is_a_file_of_its_own():
    """It is run where silri is not installed."""
    text = Path(feature_server.__file__).read_text()
    assert "import silri" not in text
    assert "from silri" not in text
