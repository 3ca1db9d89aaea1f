"""The machine: Python, JAX, rendering, cores, memory, disk, the console's port."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from silri.doctor.checks import Check, Section
from silri.envs import opengl
from silri.store.safety import files

CONSOLE_PORT = 8420
BACKENDS = (*opengl.BACKENDS, "glfw")
GIB = 2**30
SMALL_MEMORY, SMALL_DISK, NO_DISK = 2 * GIB, 2 * GIB, GIB // 4
SLOW_WRITE_S = 0.1  # of one durable write of WRITE_BYTES
WRITE_BYTES, WRITES = 2**16, 9
_machine = Section("machine")


def check_machine(out: Path, port: int = CONSOLE_PORT) -> Iterator[Check]:
    """Everything that a run needs of a machine.

    Args:
        out: folder that runs are written to; may not be there yet.
        port: of the console.
    """
    version = platform.python_version()
    yield _machine.ok("Python", f"{version} on {platform.system()} {platform.machine()}")
    yield check_jax()
    yield check_rendering()
    yield check_cores()
    yield check_memory()
    yield from check_disk(out)
    yield check_port(port)


def check_jax() -> Check:
    """The backend, and how long a small function takes to compile."""
    import jax
    import jax.numpy as jnp

    began = time.perf_counter()
    try:
        jax.jit(lambda x: jnp.tanh(x @ x).sum())(jnp.ones((64, 64))).block_until_ready()
    except RuntimeError as error:  # of XLA: no memory, a driver that does not fit
        said = " ".join(str(error).split())
        return _machine.failed("JAX", said, "JAX_PLATFORMS=cpu uses the processor")
    took = time.perf_counter() - began
    value = f"{jax.__version__} on {jax.default_backend()}, first compilation {took:.1f} s"
    remedy = "other processes use this machine, or its disk is slow"
    return _machine.judged("JAX", value, took < 10.0, remedy)


def check_rendering() -> Check:
    """Which of MuJoCo's backends draw here, each in a process of its own."""
    working = list(opengl.working(BACKENDS))
    chosen = os.environ.get("MUJOCO_GL", "")
    if not working:
        return Check(
            "machine",
            "MuJoCo rendering",
            "warning",
            "no backend draws",
            f"only cameras and videos need it: {opengl.INSTALL}",
        )
    value = f"MUJOCO_GL={' or '.join(working)}" + (f", set to {chosen}" if chosen else "")
    fits = chosen in ("", *working, *opengl.OFF)
    return _machine.judged("MuJoCo rendering", value, fits, f"export MUJOCO_GL={working[0]}")


def check_cores() -> Check:
    """How many this process may use."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = os.getloadavg()[0]
    value = f"{allowed}, load {load:.1f}"
    remedy = "a control loop at a steady rate needs one beside the learner's"
    return _machine.judged("cores", value, (allowed or 1) >= 2, remedy)


def check_memory() -> Check:
    """Available memory, where the system tells it; else all of it."""
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    info = Path("/proc/meminfo")
    if info.is_file():
        rows = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
        available = int(rows["MemAvailable"].split()[0]) * 1024
    value = f"{available / GIB:.1f} GiB free"
    remedy = "close other programs, or lower --data.online-capacity"
    return _machine.judged("memory", value, available >= SMALL_MEMORY, remedy)


def check_disk(out: Path) -> Iterator[Check]:
    """Room for runs, and how long it takes until something is safely on the disk."""
    folder = next(parent for parent in (out.resolve(), *out.resolve().parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    yield _machine.judged(
        "disk",
        f"{free / GIB:.1f} GiB free at {folder}",
        free >= SMALL_DISK,
        "make room, or name another folder with --out",
        otherwise="failed" if free < NO_DISK else "warning",
    )
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".silri-doctor-") as place:
            took = [_write(Path(place) / f"{index}") for index in range(WRITES)]
    except OSError as error:
        yield _machine.failed("durable write", str(error), "name another folder with --out")
        return
    median = statistics.median(took)
    yield _machine.judged(
        "durable write",
        f"{1e3 * median:.1f} ms for {WRITE_BYTES // 1024} kB, largest {1e3 * max(took):.1f} ms",
        median < SLOW_WRITE_S,
        "a network or worn disk: every episode waits for it; name a local folder with --out",
    )


def _write(path: Path) -> float:
    began = time.perf_counter()
    files.atomic_write(path, os.urandom(WRITE_BYTES))
    return time.perf_counter() - began


def check_port(port: int) -> Check:
    """Whether the console can listen."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            reason = error.strerror or str(error)
            remedy = "the console needs another port, or end what listens there"
            return Check("machine", f"port {port}", "warning", reason, remedy)
    return _machine.ok(f"port {port}", "free")
