"""The machine's checks, on this machine, and on one that a test has made worse."""

from __future__ import annotations

import shutil
import socket
from collections import namedtuple

import pytest

from silri.doctor import machine
from silri.envs import opengl
from silri.store.safety import files


def states(checks):
    return {check.name: check.state for check in checks}


def test_this_machine_can_run_it(tmp_path):
    found = list(machine.check_machine(tmp_path / "not" / "yet" / "there", port=0))
    assert [check.name for check in found] == [
        "Python", "JAX", "MuJoCo rendering", "cores", "memory", "disk", "durable write", "port 0",
    ]  # fmt: skip
    by_name = {check.name: check for check in found}
    for name in ("Python", "JAX", "disk", "durable write", "port 0"):
        assert by_name[name].state in ("ok", "warning"), by_name[name]
    assert "cpu" in by_name["JAX"].value
    assert all(check.remedy for check in found if check.state in ("warning", "failed"))
    assert list(tmp_path.iterdir()) == []  # nothing is left behind


def test_a_port_that_is_taken():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        check = machine.check_port(listener.getsockname()[1])
    assert (check.state, check.value) == ("warning", "Address already in use")


@pytest.mark.parametrize(("free", "state"), [(10, "ok"), (1, "warning"), (0.1, "failed")])
def test_room_on_the_disk(monkeypatch, tmp_path, free, state):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, int(free * machine.GIB)))
    assert states(machine.check_disk(tmp_path))["disk"] == state


def test_a_disk_that_takes_long_and_one_that_cannot_be_written(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "SLOW_WRITE_S", 0.0)
    assert states(machine.check_disk(tmp_path))["durable write"] == "warning"

    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "atomic_write", full)
    *_, check = machine.check_disk(tmp_path)
    assert check.state == "failed"
    assert "No space left" in check.value


def test_rendering_names_what_works_and_what_is_set_wrongly(monkeypatch):
    monkeypatch.setattr(opengl, "PROBE", "import os\nassert os.environ['MUJOCO_GL'] == 'egl'")
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    check = machine.check_rendering()
    assert check.state == "warning"
    assert check.remedy == "export MUJOCO_GL=egl"
    monkeypatch.setenv("MUJOCO_GL", "egl")
    assert machine.check_rendering().state == "ok"
    monkeypatch.setattr(opengl, "PROBE", "raise SystemExit(1)")
    check = machine.check_rendering()
    assert check.state == "warning"
    assert "libegl1" in check.remedy


def test_a_backend_that_hangs_does_not_hang_the_doctor(monkeypatch):
    monkeypatch.setattr(opengl, "PROBE", "import time; time.sleep(60)")
    monkeypatch.setattr(opengl, "PROBE_S", 0.2)
    assert machine.check_rendering().value == "no backend draws"
