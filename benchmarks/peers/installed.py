"""LeRobot's own environment: made if it is missing, and the process that runs in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from wire import Arrays, receive, send

VERSION = "0.4.4"
# grpcio-dep: its learner module imports gRPC. Nothing else of the "hilserl" extra is needed.
REQUIREMENT = f"lerobot[grpcio-dep]=={VERSION}"
HERE = Path(__file__).resolve().parent


def default_venv() -> Path:
    """Where it is kept unless told otherwise."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return cache / "silri" / "peers" / f"lerobot-{VERSION}"


def python_of(venv: Path) -> Path:
    """The interpreter that has LeRobot; installs it (8 GB, minutes) where it is missing."""
    python = venv / "bin" / "python"
    if not python.exists():
        print(f"making {venv}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    check = f"import lerobot, grpc; raise SystemExit(lerobot.__version__ != '{VERSION}')"
    if subprocess.run([str(python), "-c", check], check=False, capture_output=True).returncode:
        print(f"installing {REQUIREMENT} there: 8 GB, some minutes", flush=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", REQUIREMENT], check=True)
    return python


class Peer:
    """A LeRobot learner in a process of its own.

    Attributes:
        versions: of lerobot and torch.
    """

    def __init__(
        self, python: Path, settings: Mapping[str, Any], weights: Arrays | None = None
    ) -> None:
        """Start it; ``settings`` and ``weights`` are those of ``peer.make_policy``."""
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        environment |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(settings["threads"])}
        self._process = subprocess.Popen(
            [str(python), str(HERE / "peer.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._out, self._in = self._process.stdin, self._process.stdout
        self.send(settings, weights)
        self.versions, _ = self.receive()

    def send(self, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None) -> None:
        """Ask, without waiting."""
        send(self._out, header, arrays)

    def receive(self) -> tuple[dict[str, Any], Arrays]:
        """Wait for an answer."""
        return receive(self._in)

    def close(self) -> None:
        """End the process; it has nothing to save."""
        self._process.kill()
        self._process.wait()
        self._out.close()
        self._in.close()
