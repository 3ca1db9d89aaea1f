"""A scripted person at the page: reads what it knows, holds and releases keys, marks success.

What is right is worked out in an environment of its own, which is reset and stepped as the page
says; a person would look at the picture instead.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from silri.core.seeding import Stream, derive_seed

ARROWS = {
    (0, 0): [],
    (1, 0): ["ArrowRight"],
    (-1, 0): ["ArrowLeft"],
    (0, 1): ["ArrowUp"],
    (0, -1): ["ArrowDown"],
    (1, 1): ["ArrowRight", "ArrowUp"],
    (1, -1): ["ArrowRight", "ArrowDown"],
    (-1, 1): ["ArrowLeft", "ArrowUp"],
    (-1, -1): ["ArrowLeft", "ArrowDown"],
}
LIFT = {0: [], 1: ["w"], -1: ["s"]}
SLOW = 0.25
LOOK = """(known) => {
  const { hello, control, episode, steps, end } = silri.state;
  return {
    control, end, episode, view: hello.view,
    actions: steps.slice(known.episode === (episode && episode.episode) ? known.steps : 0)
      .map((step) => [step.step, step.action]),
    gripper: steps.length ? steps.at(-1).action.at(-1) : -1,
  };
}"""


class PagePerson:
    """Drives through the page of ``page`` only.

    Attributes:
        seen: the episodes that have ended, as the page was told.
    """

    def __init__(self, page, env, *, seed=0):
        self.page, self.env, self.seed = page, env, seed
        self.episode, self.steps, self.attempts = None, 0, 0
        self.held: set[str] = set()
        self.seen: dict[int, dict] = {}
        self.view = None

    def look(self):
        """Follow what the page shows; the newest of it."""
        shown = self.page.evaluate(LOOK, {"episode": self.episode, "steps": self.steps})
        if shown["end"] is not None:
            self.seen[shown["end"]["episode"]] = shown["end"]
        episode = shown["episode"]
        if episode is None:
            return shown
        if episode["episode"] != self.episode:
            self.episode, self.steps = episode["episode"], 0
            if episode["kind"] == "demonstration":
                layout = derive_seed(self.seed, Stream.DEMO_LAYOUT, self.attempts)
                self.attempts += 1
            else:
                layout = derive_seed(self.seed, Stream.TRAIN_LAYOUT, self.episode)
            self.env.reset(seed=layout)
            self.view = (shown["view"] or {}).get("scene")
        for number, action in shown["actions"]:
            assert number == self.steps, "a step was not shown"
            self.env.step(np.asarray(action, np.float32))
            self.steps += 1
        return shown

    def meaning(self, arrows, lift, slow):
        """The action that these keys are: as the page turns them, worked out anew here."""
        right, up = arrows
        x, y = right, up
        if self.view is not None:
            angle = math.atan2(self.view[1][0], self.view[0][0])
            x = right * math.cos(angle) - up * math.sin(angle)
            y = right * math.sin(angle) + up * math.cos(angle)
        largest = max(abs(x), abs(y), 1e-9)
        scale = (SLOW if slow else 1.0) / largest if right or up else 0.0
        return np.array([x * scale, y * scale, lift * (SLOW if slow else 1.0)])

    def keys_for(self, wanted):
        """The keys whose motion is nearest to ``wanted`` (3,)."""
        choices = itertools.product(ARROWS, LIFT, (False, True))
        best = min(choices, key=lambda keys: np.linalg.norm(self.meaning(*keys) - wanted))
        arrows, lift, slow = best
        keys = [*ARROWS[arrows], *LIFT[lift]]
        return set(keys + (["Shift"] if slow and keys else []) or ["Space"])

    def press(self, keys):
        """Hold exactly these."""
        for key in sorted(self.held - keys):
            self.page.keyboard.up(key)
        for key in sorted(keys - self.held, key=lambda key: key != "Shift"):
            self.page.keyboard.down(key)
        self.held = set(keys)

    def do_right(self, shown):
        """Hold the keys for what the expert would do now."""
        right = np.clip(self.env.privileged().expert_action, -1.0, 1.0)
        keys = self.keys_for(right[:3])
        if self.env.env_spec.action.gripper and (right[3] > 0) != (shown["gripper"] > 0):
            keys.add("g")  # held until it is seen: pressed once per change
        self.press(keys)

    def let_go(self):
        self.press(set())
