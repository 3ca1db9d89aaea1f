"""What the console costs the control loop, and whether its page is quick, light and fluent.

Usage::

    python benchmarks/console.py                                  # cost, and inputs of a script
    python benchmarks/console.py --steps 200 --seconds 3          # a glance
    python benchmarks/console.py --parts input video memory       # the page, in real Chromium
    python benchmarks/console.py --parts memory --minutes 10
    python benchmarks/console.py --parts input video memory --smoke

The parts:

- ``cost``: seconds that the console takes of each step of the control loop
- ``socket``: from an input on the WebSocket to the action, for the inputs that are executed
- ``input``: from a key event in the browser to the action in the stored episode, for every key
- ``video``: two 256 px cameras through a line of 10 Mbit/s
- ``memory``: growth of the page's heap, after collections, and of its server, in so many minutes
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
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
Row = tuple[str, str, str]  # what, goal, value


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["cost", "socket"])
    parser.add_argument("--steps", type=int, default=5_000, help="of the loop (cost)")
    parser.add_argument("--seconds", type=float, default=30.0, help="of driving (socket, video)")
    parser.add_argument("--keys", type=int, default=400, help="pressed or let go (input)")
    parser.add_argument("--minutes", type=float, default=30.0, help="of use (memory)")
    parser.add_argument("--env", default="metaworld/drawer-open-v3", help="of the part socket")
    parser.add_argument("--smoke", action="store_true", help="as little of everything as works")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.steps, arguments.seconds = 200, 4.0
        arguments.keys, arguments.minutes = 12, 0.2
    rows = [row for part in arguments.parts for row in PARTS[part](arguments)]
    print(f"\nload of the machine meanwhile: {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores")
    print("| what | goal | value |\n| --- | --- | --- |")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def cost_part(arguments: argparse.Namespace) -> Iterator[Row]:
    for cameras in (0, 2):
        spent = cost(arguments.steps, cameras)
        what = f"per control step, {cameras} cameras of 256 x 256"
        yield what, "p95 under 1 ms", percentiles(spent)


def socket_part(arguments: argparse.Namespace) -> Iterator[Row]:
    delays, frames = asyncio.run(driven(arguments.env, arguments.seconds))
    what = f"an input on the socket to its action at 20 Hz, {len(delays)} executed inputs"
    yield what, "", percentiles(delays)
    yield "pictures per second of the scene", "", f"{frames / arguments.seconds:.1f}"


def input_part(arguments: argparse.Namespace) -> Iterator[Row]:
    from page import measure_inputs

    delays = measure_inputs(arguments.keys)
    what = f"key event to stored action at 20 Hz, {len(delays.event)} keys"
    yield what, "p95 under 60 ms", percentiles(delays.event)
    yield "the same, from before the test driver's call", "", percentiles(delays.driver)
    yield "keys that came between two episodes: left out", "", str(delays.between)
    yield "keys that were not executed before the next one", "0", str(delays.overtaken)


def video_part(arguments: argparse.Namespace) -> Iterator[Row]:
    from page import measure_video

    rate, megabits = measure_video(arguments.seconds)
    yield "two 256 px cameras, pictures per second and camera", "at least 10", f"{rate:.1f}"
    yield "of a line of 10 Mbit/s", "at most 10 Mbit/s", f"{megabits:.2f} Mbit/s"


def memory_part(arguments: argparse.Namespace) -> Iterator[Row]:
    from page import SAMPLE_S, SETTLED_S, growth, measure_memory

    settle, sample = (10.0, 5.0) if arguments.smoke else (SETTLED_S, SAMPLE_S)
    looks = measure_memory(arguments.minutes, settle, sample)
    for of, name in (("page", "heap of the page"), ("server", "memory of its server")):
        what = f"growth of the {name} in {looks[-1].minutes - looks[0].minutes:.1f} minutes"
        now = getattr(looks[-1], of)
        yield what, "under 20 MB in 30", f"{growth(looks, of):.2f} MB, to {now:.1f} MB"


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
    print(f"steps that the console was too slow for: {link.dropped}", flush=True)
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


PARTS: dict[str, Callable[[argparse.Namespace], Iterator[Row]]] = {
    "cost": cost_part,
    "socket": socket_part,
    "input": input_part,
    "video": video_part,
    "memory": memory_part,
}

if __name__ == "__main__":
    main()
