"""A process that serves features over the real wire, without lerobot behind it.

Run as the Python of ``vla.python`` is, with the path of the real server first. ``--weights`` is a
folder whose ``config.json`` says how it behaves: ``{"dies": true}`` for one.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path

import numpy as np

from silri.vla.serving import feature_server

SIZE, ACTION = 6, 3


def described(folder=None):
    """What :class:`silri.vla.serving.feature_server.Provider` says of a model."""
    return {
        "protocol": feature_server.PROTOCOL,
        "name": "fake",
        "digest": "0" * 16 if folder is None else feature_server.digest_of(folder, "fake"),
        "size": SIZE,
        "action": ACTION,
        "cameras": ["front"],
        "state": 2,
        "runs_on": "nothing",
    }


def answer(asked):
    """Numbers of what was asked."""
    if asked["instruction"] == "be silent":
        time.sleep(30)
    if asked["instruction"] == "die":
        os._exit(3)
    if asked["instruction"] == "fail":
        raise ValueError("no such word")
    embedding = np.arange(SIZE, dtype=np.float32) + asked["frames"]["front"].mean(dtype=np.float32)
    action = asked["state"].sum() + np.zeros(ACTION, np.float32) if asked["action"] else None
    return {"embedding": embedding, "action": action}


def main():
    """Serve until the standard input closes."""
    folder = Path(sys.argv[sys.argv.index("--weights") + 1])
    told = json.loads((folder / "config.json").read_text())
    if told.get("dies"):
        sys.stderr.write("Traceback\nModuleNotFoundError: No module named 'lerobot'\n")
        return 1
    if told.get("loads_long"):
        time.sleep(30)
    feature_server.end_with_parent()
    token = os.environ[feature_server.TOKEN]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sys.stdout.write(json.dumps({"port": listener.getsockname()[1]}) + "\n")
        sys.stdout.flush()
        feature_server.serve(listener, token, described(folder), answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
