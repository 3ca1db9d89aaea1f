"""The parts of ``console.py`` that need a browser: inputs, video, memory."""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from browser import NarrowLine, Run, chromium, opened, record, resident, until

from silri.store.dataset import read_dataset

LINE_BYTES = 10e6 / 8  # per second: 10 Mbit
SAMPLE_S = 30.0  # between two looks at the memory
SETTLED_S = 120.0  # until everything that is kept once is there: a replay, a map, curves
# An agent small enough that two cores are enough for it, for a loop that keeps its rate.
SMALL = (
    *("--agent.trunk.hidden", "64", "64", "--agent.batch-size", "32", "--agent.utd", "1"),
    *("--agent.stages.0.updates", "300", "--steps", "100000", "--evaluation.every", "0"),
    *("--runtime.tensorboard", "False", "--operator", "web", "--operator.port", "0"),
)
# What the page notes of every key, before its own listeners hear of it.
LISTEN = """
window.noted = [];
for (const type of ["keydown", "keyup"]) addEventListener(type, (event) => {
  if (event.repeat) return;
  const note = { at: event.timeStamp, key: event.key, type };
  window.noted.push(note);
  setTimeout(() => {
    const wish = silri.drive.wish();
    Object.assign(note, { axes: silri.drive.axes(wish), hold: wish.hold });
  });
}, true);
"""
KEYS = ("ArrowRight", "ArrowUp", "ArrowLeft", "ArrowDown", "w", "s")


class Step(NamedTuple):
    """A step of a stored episode, and when the robot began with it (monotonic seconds)."""

    at: float
    driven: bool
    human: np.ndarray
    first: bool


class Delays(NamedTuple):
    """Seconds from an input to its action.

    Attributes:
        event: from the time that the browser gives its key event.
        driver: from before the test driver was asked to press the key.
        between: inputs that were executed in the next episode, or not at all, for there was none.
        overtaken: inputs that were not executed before the next one came.
    """

    event: list[float]
    driver: list[float]
    between: int
    overtaken: int


# -- inputs ---------------------------------------------------------------------------------------


def measure_inputs(count: int) -> Delays:
    """``count`` keys pressed and let go at random moments while a policy drives at 20 Hz."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        demos = record(folder / "demos", 3, "--env", "timed:Timed")
        flags = ("--env", "timed:Timed", "--data.dataset", str(demos), *SMALL)
        notes = folder / "notes"
        notes.mkdir()
        with (
            Run("train", *flags, "--operator.scene", "always", folder=folder / "run", notes=notes)
            as run,
            chromium() as browser,
        ):  # fmt: skip
            page = opened(browser, run.url)
            until(page, "document.body.dataset.situation === 'policy'", 300)
            page.evaluate(LISTEN)
            driver = press(page, count)
            offset = clock_offset(page)
            noted = page.evaluate("noted.map((note) => ({ ...note }))")
            ended = page.evaluate("silri.state.episode.episode")
            until(page, f"silri.state.episode.episode > {ended}", 120)
            time.sleep(3.0)  # until it is stored
        steps = stored_steps(folder / "run" / "episodes", notes)
    return matched(noted, driver, offset, steps)


def press(page: Any, count: int) -> list[float]:
    """Press and let go; when each was asked for. In every fourth pair the policy drives before."""
    asked, draw = [], random.Random(0)
    held = False

    def act(act_on: Any, key: str) -> None:
        page.wait_for_timeout(draw.uniform(150.0, 350.0))
        asked.append(time.monotonic())
        act_on(key)

    while len(asked) < count:
        until(page, "['policy', 'you'].includes(document.body.dataset.situation)", 120)
        if not held:
            act(page.keyboard.down, "Space")
            held = True
        key = draw.choice(KEYS)
        act(page.keyboard.down, key)
        act(page.keyboard.up, key)
        if draw.random() < 0.25:
            act(page.keyboard.up, "Space")
            held = False
    if held:
        act(page.keyboard.up, "Space")
    page.wait_for_timeout(500)
    return asked


def clock_offset(page: Any) -> float:
    """What must be added to the page's seconds to get this process's monotonic ones."""
    best = (float("inf"), 0.0)
    for _ in range(200):
        before = time.monotonic()
        there = page.evaluate("performance.now()") / 1e3
        after = time.monotonic()
        best = min(best, (after - before, (before + after) / 2 - there))
    return best[1]


def stored_steps(episodes: Path, notes: Path) -> list[Step]:
    """Every step of the stored training episodes, with its time."""
    # The page's server plays the run again, and takes notes too: the run's are the first ones.
    runs = [list(noted_episodes(path)) for path in notes.glob("*.jsonl")]
    first = {}
    for seed, actions in (each for run in runs for each in run):
        known = first.get(seed)
        if known is None or (actions and actions[0][0] < known[0][0]):
            first[seed] = actions
    steps = []
    for episode in read_dataset(episodes):
        if episode.is_demo:
            continue
        executed = first[episode.seed]
        for number, (at, action) in enumerate(executed):
            np.testing.assert_allclose(action, episode.frames["action"][number], atol=1e-4)
            driven = bool(episode.frames["is_intervention"][number])
            steps.append(Step(at, driven, episode.frames["human_action"][number], not number))
    return sorted(steps, key=lambda step: step.at)


def noted_episodes(path: Path) -> Iterator[tuple[int, list[tuple[float, list[float]]]]]:
    """(seed, [(time, action)]) of every episode in a file of notes."""
    seed, actions = None, []
    for line in path.read_text().splitlines():
        note = json.loads(line)
        if "action" in note:
            actions.append((note["at"], note["action"]))
            continue
        if seed is not None and actions:
            yield seed, actions
        seed, actions = note["seed"], []
    if seed is not None and actions:
        yield seed, actions


def matched(
    noted: list[dict[str, Any]], driver: list[float], offset: float, steps: list[Step]
) -> Delays:
    """Find for every key the first step that does what it says."""
    event, asked, between, overtaken = [], [], 0, 0
    times = np.array([step.at for step in steps])
    for number, (note, before) in enumerate(zip(noted, driver, strict=True)):
        at = note["at"] / 1e3 + offset
        until_next = driver[number + 1] if number + 1 < len(driver) else float("inf")
        found = None
        for step in steps[int(np.searchsorted(times, at)) :]:
            if step.first:
                between += 1
                break
            if step.at > until_next:
                overtaken += 1
                break
            same = step.driven and np.allclose(step.human[:3], note["axes"][:3], atol=1e-3)
            if same if note["hold"] else not step.driven:
                found = step.at
                break
        if found is not None:
            event.append(found - at)
            asked.append(found - before)
    return Delays(event, asked, between, overtaken)


# -- video ----------------------------------------------------------------------------------------


def measure_video(seconds: float) -> tuple[float, float]:
    """Pictures per second and camera, and Mbit/s, of two 256 px cameras through 10 Mbit/s."""
    flags = (
        *("--env", "metaworld/drawer-open-v3", "--env.observation", "pixels"),
        *("--env.image-size", "256", "--env.max-episode-steps", "100000", "--episodes", "9"),
        *("--operator", "web", "--operator.port", "0", "--operator.scene", "never"),
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        Run("record", *flags, folder=Path(folder) / "demos") as run,
        chromium() as browser,
    ):
        line = NarrowLine(run.url, LINE_BYTES)
        page = opened(browser, line.url)
        if page.evaluate("silri.scene.views.length") != 2:
            raise SystemExit("there are not two cameras")
        until(page, "document.body.dataset.situation === 'turn'")
        page.keyboard.down("ArrowLeft")  # to the edge, and there: the pictures stay pictures
        until(page, "document.body.dataset.situation === 'you'")
        page.wait_for_timeout(2000)
        drawn = "silri.scene.views.map((view) => view.drawn)"
        before, bytes_before, began = page.evaluate(drawn), line.down, time.monotonic()
        turn = ("ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown")
        for number in range(max(4, round(seconds))):
            page.keyboard.up(turn[number % 4])
            page.keyboard.down(turn[(number + 1) % 4])
            page.wait_for_timeout(1000)
        passed = time.monotonic() - began
        after, came = page.evaluate(drawn), line.down - bytes_before
    rates = [(b - a) / passed for a, b in zip(before, after, strict=True)]
    return min(rates), came * 8e-6 / passed


# -- memory ---------------------------------------------------------------------------------------


class Memory(NamedTuple):
    """A look at the memory: minutes since the first one, MB of the page and of its server."""

    minutes: float
    page: float
    server: float


def measure_memory(minutes: float, settle_s: float, sample_s: float) -> list[Memory]:
    """Use the page as people do: drive, let go, look at every panel and at stored episodes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        env = ("--env", "metaworld/drawer-open-v3")
        demos = record(folder / "demos", 3, *env)
        flags = (*env, "--data.dataset", str(demos), *SMALL)
        with Run("train", *flags, folder=folder / "run") as run, chromium() as browser:
            page = opened(browser, run.url)
            until(page, "document.body.dataset.situation === 'policy'", 300)
            looks, began, number = [], time.monotonic(), 0
            due = began + settle_s
            while time.monotonic() < began + settle_s + 60 * minutes:
                use(page, number)
                number += 1
                if time.monotonic() >= due:
                    since = (time.monotonic() - began - settle_s) / 60
                    looks.append(Memory(since, heap(page), resident(run.server)))
                    print("  minute {:.1f}: page {:.2f} MB, server {:.1f} MB".format(*looks[-1]),
                          flush=True)  # fmt: skip
                    due += sample_s
    return looks


def use(page: Any, number: int) -> None:
    """Some five seconds of a person's work."""
    tabs = ("why", "progress", "episodes", "map")
    page.click(f"[data-tab={tabs[number % 4]}]")
    live = "['policy', 'you'].includes(document.body.dataset.situation)"
    until(page, live, 120)
    for key in (KEYS[number % 6], KEYS[(number + 1) % 6]):
        page.keyboard.down(key)
        page.wait_for_timeout(700)
        page.keyboard.up(key)
    page.wait_for_timeout(800)
    rows = page.locator("tr[data-episode]")
    if number % 4 == 2 and rows.count():
        rows.nth(number // 4 % min(rows.count(), 8)).click()
        until(page, "document.body.dataset.situation === 'replay'")
        page.click("[data-part=play]")
        page.wait_for_timeout(1500)
        page.keyboard.press("Escape")


def heap(page: Any) -> float:
    """MB of JavaScript that are in use after a collection."""
    cdp = page.context.new_cdp_session(page)
    for _ in range(3):
        cdp.send("HeapProfiler.collectGarbage")
    used = cdp.send("Runtime.getHeapUsage")["usedSize"] / 1e6
    cdp.detach()
    return float(used)


def growth(looks: list[Memory], of: str) -> float:
    """MB from the beginning to the end, of the line through all looks: no single one decides."""
    if len(looks) < 3:
        return getattr(looks[-1], of) - getattr(looks[0], of)
    minutes = [look.minutes for look in looks]
    slope, _ = np.polyfit(minutes, [getattr(look, of) for look in looks], 1)
    return float(slope) * (minutes[-1] - minutes[0])
