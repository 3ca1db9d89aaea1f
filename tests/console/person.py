"""A scripted person: sees what a page is told, and drives only through the page's WebSocket."""

from __future__ import annotations

import asyncio
import json
import time

import numpy as np
import websockets

from silri.core.seeding import Stream, derive_seed


def expert(env):
    """What the scripted expert would do."""
    return env.env_spec.action.snap(env.privileged().expert_action)


class Person:
    """Drives an environment of its own along with the run's, to know what would be right.

    Attributes:
        heard: every text message, in order.
        frames: (camera, step, JPEG) of every picture.
        delays: input to executed, in seconds.
    """

    def __init__(self, url, env, *, seed=0, origin=None, right=expert):
        """A person who knows what ``right(env)`` says."""
        self.url, self.env, self.seed, self.right = url, env, seed, right
        self.origin = origin or url.partition("/?")[0]
        self.heard, self.frames, self.delays = [], [], []
        self.sequence, self.sent, self.inputs = 0, {}, []
        self.episode, self.attempts = None, 0
        self.driving = False

    async def __aenter__(self):
        address = self.url.replace("http://", "ws://").replace("/?", "/ws?")
        self._connecting = websockets.connect(address, origin=self.origin, max_size=None)
        self.socket = await self._connecting.__aenter__()
        self.reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_):
        self.reader.cancel()
        await self._connecting.__aexit__(None, None, None)

    def of(self, kind):
        return [message for message in self.heard if message["type"] == kind]

    @property
    def control(self):
        return self.of("control")[-1]

    async def until(self, holds, timeout=20.0):
        """Wait until ``holds()``; what it returned."""
        ends = time.monotonic() + timeout
        while not (found := holds()):
            assert not self.reader.done(), self.reader.exception()
            assert time.monotonic() < ends, f"nothing came of it; last: {self.heard[-5:]}"
            await asyncio.sleep(0.005)
        return found

    async def say(self, kind, **fields):
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def input(self, axes, hold=True):
        self.sequence += 1
        now = time.monotonic()
        self.sent[self.sequence] = now
        axes = [float(value) for value in axes]
        self.inputs.append(axes)
        await self.say("input", sequence=self.sequence, time=now * 1e3, axes=axes, hold=hold)

    async def command(self, name, episode=None):
        await self.say("command", command=name, episode=episode)

    async def release(self):
        await self.input([0.0] * self.env.env_spec.action.size, hold=False)

    async def drive(self, hz=50.0):
        """Do what is right until the episode ends."""
        before = len(self.of("end"))
        while len(self.of("end")) == before:
            await self.input(self.right(self.env))
            await asyncio.sleep(1.0 / hz)
        await self.release()

    def _begin(self, message):
        self.episode = message["episode"]
        if message["kind"] == "demonstration":
            layout = derive_seed(self.seed, Stream.DEMO_LAYOUT, self.attempts)
            self.attempts += 1
        else:
            layout = derive_seed(self.seed, Stream.TRAIN_LAYOUT, self.episode)
        self.env.reset(seed=layout)

    async def _read(self):
        async for data in self.socket:
            if isinstance(data, bytes):
                camera, step = data[0], int.from_bytes(data[1:5], "big")
                self.frames.append((camera, step, data[5:]))
                await self.say("drawn", camera=camera)
                continue
            message = json.loads(data)
            if message["type"] == "episode":
                self._begin(message)
            elif message["type"] == "step":
                self.env.step(np.asarray(message["action"], np.float32))
            elif message["type"] == "pong" and message["sequence"] == message["applied"]:
                sent = self.sent.pop(message["sequence"])
                self.delays.append(time.monotonic() - sent)
            self.heard.append(message)
