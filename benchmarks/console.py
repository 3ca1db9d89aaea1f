"""What the console costs the control loop, and how long an input takes to become an action.

Usage::

    python benchmarks/console.py                                  # both
    python benchmarks/console.py --steps 200 --seconds 3          # a glance
    python benchmarks/console.py --seconds 60 --env metaworld/push-v3
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import websockets

from silri.console.link import RunLink
from silri.console.operator import WebConfig, WebOperator
from silri.console.wire import TO_CONSOLE, pack, receive
from silri.core.commands import CommandQueue
from silri.core.events import EpisodeBegan, StepTaken
from silri.core.protocols import OperatorView
from silri.core.specs import ActionSpec
from silri.core.transition import Transition

SPEC = ActionSpec(4, (3,))
HZ = 60.0  # inputs per second, as a page sends them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=5_000, help="of the loop")
    parser.add_argument("--seconds", type=float, default=30.0, help="of driving")
    parser.add_argument("--env", default="metaworld/drawer-open-v3")
    arguments = parser.parse_args()
    for cameras in (0, 2):
        spent = cost(arguments.steps, cameras)
        print(f"per control step, {cameras} cameras of 256 x 256: {percentiles(spent)}", flush=True)
    delays, frames = asyncio.run(driven(arguments.env, arguments.seconds))
    print(f"input to executed action at 20 Hz: {percentiles(delays)} ({len(delays)} inputs)")
    print(f"pictures per second: {frames / arguments.seconds:.1f}")


def percentiles(seconds: Sequence[float]) -> str:
    p50, p95, p99 = np.percentile(np.asarray(seconds) * 1e3, [50, 95, 99])
    return f"p50 {p50:.3f} ms, p95 {p95:.3f} ms, p99 {p99:.3f} ms"


def cost(steps: int, cameras: int) -> list[float]:
    """Seconds that asking and telling take of each step, with a console that reads along."""
    listener = socket.create_server(("127.0.0.1", 0))
    operator = WebOperator(WebConfig(), SPEC, listener, "token")
    link: RunLink = operator._link
    line = socket.create_connection(("127.0.0.1", link.port))
    line.sendall(pack({"kind": "hello", "token": operator._secret}))
    threading.Thread(target=drain, args=[line], daemon=True).start()
    operator._commands = CommandQueue()
    observation = {"state": np.zeros(8, np.float32), "environment_state": np.zeros(31, np.float32)}
    observation |= {
        f"images.{number}": np.zeros((256, 256, 3), np.uint8) for number in range(cameras)
    }
    names = [f"human_{kind}.{index}" for kind in ("mean", "std") for index in range(3)]
    told = dict.fromkeys([*names, "lambda", "bound", "distance", "q_policy", "q_human"], 0.5)
    action = np.zeros(4, np.float32)
    view = OperatorView(observation, action, None, 0, in_control=True)
    operator.on_event(EpisodeBegan(0, 0, "training", 0, "task", observation))
    spent = []
    for step in range(steps):
        transition = Transition(
            observation, action, action, action, 1.0, 0.0, observation, False, False, True, 0.0,
            0, step, 0,
        )  # fmt: skip
        event = StepTaken(step, transition, told)
        message = {"kind": "input", "page": "page-1", "sequence": step, "hold": True}
        operator._hear({**message, "axes": [0.5, 0.0, 0.0, 0.0]})
        started = time.perf_counter()
        asked = operator.decide(view)
        operator.on_event(event)
        spent.append(time.perf_counter() - started)
        assert asked.engaged
        time.sleep(0.002)  # the robot moves
    operator.close()
    print(f"  steps that the console was too slow for: {link.dropped}")
    return spent


def drain(line: socket.socket) -> None:
    while receive(line, TO_CONSOLE) is not None:
        pass


async def driven(env: str, seconds: float) -> tuple[list[float], int]:
    """Input to executed action of a real run, and how many pictures came meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "silri.cli.main", "train", "--operator", "web"),
                *("--operator.port", "0", "--env", env, "--out", str(Path(folder) / "run")),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            return await drive(address_of(process), seconds)
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate()


def address_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"http(://\S+)/(\?token=\S+)", line):
            return f"ws{found[1]}/ws{found[2]}"
    raise SystemExit("the run ended without an address")


async def drive(address: str, seconds: float) -> tuple[list[float], int]:
    """Push around in small circles; demonstrations wait for nobody else."""
    delays: list[float] = []
    sent: dict[int, float] = {}
    frames = 0
    async with websockets.connect(address, max_size=None) as page:

        async def listen() -> None:
            nonlocal frames
            async for data in page:
                if isinstance(data, bytes):
                    frames += 1
                    await page.send(json.dumps({"type": "drawn", "camera": data[0]}))
                    continue
                message = json.loads(data)
                if message["type"] == "hello":
                    ready.set()
                elif message["type"] == "pong" and message["sequence"] == message["applied"]:
                    delays.append(time.monotonic() - sent[message["sequence"]])

        ready = asyncio.Event()
        listening = asyncio.create_task(listen())
        await ready.wait()
        frames = 0
        ends = time.monotonic() + seconds
        sequence = 0
        while time.monotonic() < ends:
            sequence += 1
            sent[sequence] = time.monotonic()
            angle = sequence / 40
            axes = [0.2 * np.cos(angle), 0.2 * np.sin(angle), 0.0, -1.0]
            said = {"type": "input", "sequence": sequence, "time": 0, "axes": axes, "hold": True}
            await page.send(json.dumps(said))
            await asyncio.sleep(1.0 / HZ)
        listening.cancel()
    return delays, frames


if __name__ == "__main__":
    main()
