"""The whole way in two processes and a browser: a scripted person teaches through the page only."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from silri.envs.registry import create_env, find_env
from silri.store.dataset import read_dataset
from tests.console.page_browser import Errors, until
from tests.console.page_feed import picture, reasons, step
from tests.console.page_person import PagePerson
from tests.source import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.alone]
NAME = "metaworld/drawer-open-v3"
HZ = 10
LATEST = 0.3 * HZ + 1  # steps within 300 ms, and one that is on its way
SMALL = [
    *("--agent.trunk.hidden", "16", "16", "--agent.batch-size", "8"),
    *("--agent.stages.0.updates", "50"),
    *("--data.demos", "1", "--steps", "2000", "--evaluation.every", "100000"),
    *("--runtime.checkpoint-every", "100000", "--runtime.tensorboard", "False"),
    # Slow enough for a machine with much else to do: a late look must not spoil what is driven.
    *("--runtime.rate-hz", str(HZ), "--env.max-episode-steps", "200"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(folder, URL, process) of ``silri train --operator web``."""
    folder = tmp_path_factory.mktemp("web") / "run"
    log = folder.parent / "out.txt"
    command = [sys.executable, "-m", "silri.cli.main", "train", "--operator", "web", *SMALL]
    command += ["--env", NAME, "--operator.port", "0", "--out", str(folder)]
    more = {
        "PYTHONPATH": str(ROOT / "src"),
        "PYTHONUNBUFFERED": "1",
        "SILRI_COMPILATION_CACHE": os.environ["JAX_COMPILATION_CACHE_DIR"] + "-of-the-page",
    }
    environment = os.environ | more
    environment.pop("MUJOCO_GL", None)  # this run draws
    with log.open("w") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, env=environment, cwd=folder.parent
        )
        try:
            end = time.monotonic() + 180
            while not (found := re.search(r"http://\S+", log.read_text())):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.1)
            yield folder, found[0], process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def page(browser, run):
    errors = Errors()
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    errors.watch(page)
    page.goto(run[1])
    until(page, "silri.state.hello !== null && silri.state.episode !== null", 60)
    # As a person would: nobody drives before there is something to see.
    until(page, "silri.scene.views.length > 0 && silri.scene.views[0].step !== null", 120)
    yield page
    context.close()
    assert errors == []


@pytest.fixture(scope="module")
def person(page):
    return PagePerson(page, create_env(NAME, find_env(NAME).preset().config))


def live(person, wanted, act, seconds=60.0):
    """Look and act until ``wanted(shown)``."""
    end = time.monotonic() + seconds
    while not wanted(shown := person.look()):
        assert time.monotonic() < end, shown["control"]
        act(shown)
        person.page.wait_for_timeout(5)
    return shown


def steps_of(page):
    return page.evaluate("silri.state.steps.length")


def running(shown):
    return shown["episode"]["kind"] == "training" and shown["control"]["phase"] == "autonomous"


def stored_episode(folder, spec, number, seconds=60.0):
    """An episode on disk; the page hears of its end before it is written."""
    end = time.monotonic() + seconds
    while True:
        found = {each.episode_id: each for each in read_dataset(folder, spec)}
        if number in found:
            return found[number]
        assert time.monotonic() < end, (number, sorted(found))
        time.sleep(0.1)


def test_a_demonstration_through_the_page(page, person):
    """The drawer is opened with arrow keys and W and S."""
    assert page.evaluate("silri.state.control.phase") == "waiting"
    live(person, lambda _: person.seen, person.do_right)
    person.let_go()
    assert person.seen[0]["success"]
    assert person.seen[0]["human_steps"] == person.seen[0]["length"]
    assert page.evaluate("silri.scene.views[0].drawn") > 5


def test_taking_over_and_handing_back(page, person, run):
    live(person, running, lambda _: person.let_go(), 240)
    live(person, lambda shown: person.steps > 5, lambda _: None)
    page.keyboard.down("ArrowRight")
    until(page, "document.body.dataset.situation === 'you'", 60)
    taken = steps_of(page)
    until(page, f"silri.state.steps.length >= {taken + 8}", 60)
    page.keyboard.up("ArrowRight")
    until(page, "document.body.dataset.situation === 'policy'", 60)
    shown = page.evaluate("silri.state.steps.map((s) => [s.driver, s.action, s.human])")
    episode = page.evaluate("silri.state.episode.episode")
    page.keyboard.press("Backspace")  # it has failed
    live(person, lambda _: episode in person.seen, lambda _: None)
    assert not person.seen[episode]["success"]

    stored = stored_episode(run[0] / "episodes", person.env.env_spec, episode)
    by_person = stored.frames["is_intervention"].astype(bool)
    assert by_person[: len(shown)].tolist() == [driver == "human" for driver, *_ in shown]
    assert by_person.sum() == person.seen[episode]["human_steps"] >= 8
    right = [*person.meaning((1, 0), 0, slow=False), -1.0]
    actions = stored.frames["human_action"][by_person]
    np.testing.assert_allclose(actions, np.tile(right, (len(actions), 1)), atol=1e-5)
    # Blended in over one step, and from then on what the person asked for.
    executed = stored.frames["action"][by_person]
    np.testing.assert_allclose(executed[1:], actions[1:], atol=1e-5)
    assert np.isnan(stored.frames["human_action"][~by_person]).all()


# Each notes what the page has seen in the moment of the cut.
NOTE = "sessionStorage.known = silri.state.steps.length;"
CUT = {
    "freeze": "const end = performance.now() + 1500; while (performance.now() < end);",
    "socket": "silri.link.socket.close();",
    "leave": "location.href = 'about:blank';",
}


@pytest.mark.parametrize("how", CUT)
def test_whatever_cuts_the_person_off_stops_the_robot(page, person, run, how):
    """Not later than 300 ms after the last input, or the policy drives on."""
    live(person, running, lambda _: person.let_go(), 120)
    page.keyboard.down("Space")
    until(page, "document.body.dataset.situation === 'you'", 60)
    known = steps_of(page)
    until(page, f"silri.state.steps.length > {known}", 60)
    episode = page.evaluate("silri.state.episode.episode")
    page.evaluate(f"void setTimeout(() => {{ {NOTE} {CUT[how]} }})")
    page.wait_for_timeout(1800 if how == "freeze" else 500)
    if how == "leave":
        page.goto(run[1])
    until(page, "silri.state.link === 'open' && silri.state.episode !== null", 20)
    page.wait_for_timeout(300)
    known = int(page.evaluate("sessionStorage.known"))
    drivers = page.evaluate("silri.state.steps.map((step) => step.driver)")
    assert page.evaluate("silri.state.episode.episode") == episode
    assert len(drivers) >= known
    assert drivers[known:].count("human") <= LATEST, (known, drivers)
    page.keyboard.up("Space")
    if page.evaluate("silri.state.control.phase") == "paused":
        page.keyboard.press("p")
        until(page, "silri.state.control.phase !== 'paused'", 20)


def test_the_run_is_stopped_from_the_page(page, person, run):
    live(person, running, lambda _: person.let_go(), 120)
    page.click("[data-command=stop]")
    page.click("#confirm button[value=stop]")
    assert run[2].wait(60) == 130  # interrupted: it can be resumed


def heap(page) -> float:
    """MB of JavaScript that are in use after a collection."""
    cdp = page.context.new_cdp_session(page)
    for _ in range(3):
        cdp.send("HeapProfiler.collectGarbage")
    used = cdp.send("Runtime.getHeapUsage")["usedSize"] / 1e6
    cdp.detach()
    return used


def test_a_quarter_of_an_hour_of_messages_does_not_grow_the_page(open_page, feed):
    """300 episodes of 60 steps, as fast as they go, with pictures and curves."""
    page = open_page()

    def episodes(first, count):
        for number in range(first, first + count):
            begins = {"type": "episode", "episode": number, "kind": "training", "task": "t"}
            feed.say(begins | {"done": 0, "of": 0, "limit": 60})
            feed.say(*(step(i, episode=number, **reasons(i)) for i in range(60)))
            feed.frame(number, picture((number % 250, 90, 90), 256))
            point = {"env_step": 60 * number, "success": 0.5, "interventions": 0.1}
            feed.say({"type": "curves", "points": [point]}, {"type": "notice", "text": "stored"})
        until(page, f"silri.state.episode.episode === {first + count - 1}", 60)

    episodes(0, 30)
    page.wait_for_timeout(300)
    before = heap(page)
    episodes(30, 270)
    page.wait_for_timeout(300)
    assert heap(page) - before < 5
    assert page.evaluate("silri.state.steps.length") == 60
