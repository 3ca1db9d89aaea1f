"""`silri train --runtime cluster --robots 2 --operator web`: one page, in a browser, for both."""

from __future__ import annotations

import re
import signal
import time

import pytest

from silri.runtime.cluster.paths import LivePaths, read_record
from silri.store.dataset import read_dataset
from tests.console.page_browser import Errors, until
from tests.fakes.envs.drawn import NAME
from tests.runtime.cluster.processes import Place, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.alone]
HZ = 10
TASK = [
    *("--agent", "tests.fakes.models.agent:TellingAgent", "--env", NAME, "--operator", "web"),
    *("--operator.port", "0", "--data.demos", "1", "--steps", "100000"),
    *("--agent.batch-size", "8", "--env.max-episode-steps", "60", "--evaluation.every", "0"),
    *("--runtime.rate-hz", str(HZ), "--runtime.max-lag", "0", "--runtime.tensorboard", "False"),
]
BOARD = "Object.fromEntries(silri.state.robots.map((r) => [r.name, r]))"


@pytest.fixture(scope="module")
def run():
    """The place, the command, and the address of the page."""
    place = Place()
    try:
        command = place.silri("train", "--runtime", "cluster", "--robots", "2", *TASK, "--out", "r")
        command.says("teach the robots at")
        yield place, command, re.search(r"http://\S+", command.text)[0]
    finally:
        place.clean()


@pytest.fixture(scope="module")
def page(browser, run):
    errors = Errors()
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    errors.watch(page)
    page.goto(run[2])
    yield page
    context.close()
    assert errors == []


def board(page):
    return page.evaluate(BOARD)


def show(page, name):
    """By its number key, as a person would."""
    page.keyboard.press(name[-1])
    until(page, f"silri.state.robot === '{name}' && silri.state.hello !== null", 60)
    assert page.evaluate("silri.state.hello.robot") == name


def drive(page, key, steps=5):
    """Hold a key for some steps in one episode; its number."""
    until(page, "document.body.dataset.situation === 'policy'", 120)
    page.keyboard.down(key)
    until(page, "document.body.dataset.situation === 'you'", 30)
    driven = "silri.state.steps.filter((s) => s.driver === 'human').length"
    until(page, f"{driven} >= {steps}", 30)
    return page.evaluate("silri.state.episode.episode")


def shown(page):
    """(episode, who drove each of its steps), as the page knows."""
    return page.evaluate("[silri.state.episode.episode, silri.state.steps.map((s) => s.driver)]")


def stored(run, robot, number):
    """The robot's episode of this number, when it is in the run's folder."""
    found = []

    def there():
        episodes = read_dataset(run[0].path / "r" / "episodes")
        mine = (e for e in episodes if re.match(rf"{robot}/\w+:{number}$", e.origin))
        found[:] = list(mine)
        return found

    wait_until(there, 120)
    return found[0]


DRIVEN = {}  # robot -> (episode, who drove the steps that were seen)


def test_the_bar_shows_both_and_one_asks_for_a_demonstration(page, run):
    until(page, "silri.state.robots.length === 2", 60)
    until(page, "silri.state.robots.every((r) => r.ready)", 240)
    until(page, "silri.state.robots.some((r) => r.phase === 'waiting')", 120)
    (asks,) = [r["name"] for r in board(page).values() if r["phase"] == "waiting"]
    (other,) = set(board(page)) - {asks}
    show(page, other)
    assert page.inner_text(f"[data-robot={asks}] .need") == "needs you"
    assert page.inner_text("#who") == "The robot stands by"
    page.click(f"#robots [data-robot={asks}]")
    until(page, f"silri.state.hello !== null && silri.state.hello.robot === '{asks}'", 60)
    until(page, "document.body.dataset.situation === 'turn'", 60)
    page.keyboard.down("ArrowRight")
    until(page, "silri.state.steps.length >= 5", 60)
    page.keyboard.press("Enter")  # a success, for whoever says so
    page.keyboard.up("ArrowRight")
    until(page, "silri.state.robots.every((r) => r.phase === 'autonomous')", 240)


def test_one_is_driven_and_then_the_other(page, run):
    """Whoever switches has let the first one go, whatever is still held."""
    for robot, other, key in (
        ("robot-1", "robot-2", "ArrowRight"),
        ("robot-2", "robot-1", "Space"),
    ):
        show(page, robot)
        drive(page, key)
        DRIVEN[robot] = shown(page)
        page.keyboard.press(other[-1])
        left = time.monotonic()
        until(page, f"{BOARD}['{robot}'].phase !== 'human'", 5)
        assert time.monotonic() - left < 2.0  # the bar is told four times a second
        assert board(page)[robot]["phase"] == "autonomous"  # let go, not lost
        until(page, "silri.state.hello !== null && silri.state.steps.length > 2", 60)
        assert not page.evaluate("silri.drive.driving")  # the key is still down
        assert board(page)[other]["phase"] != "human"
        page.keyboard.up(key)
    for robot, (number, drivers) in DRIVEN.items():
        flags = stored(run, robot, number).frames["is_intervention"].astype(bool).tolist()
        seen = [driver == "human" for driver in drivers]
        assert flags[: len(seen)] == seen
        assert 5 <= sum(flags) <= sum(seen) + 0.5 * HZ  # and soon after the switch no more


def test_the_robots_own_episodes_are_on_the_page(page, run):
    show(page, "robot-2")
    number, _ = DRIVEN["robot-2"]
    page.click("[data-tab=episodes]")
    until(page, f"document.querySelector('tr[data-episode=\"{number}\"]') !== null", 60)
    assert "own and latest episodes" in page.inner_text("#part")
    page.click(f"tr[data-episode='{number}']")
    until(page, "document.body.dataset.situation === 'replay'", 30)
    until(page, "silri.scene.views[0].step === 0", 60)
    page.keyboard.press("Escape")
    page.click("[data-tab=progress]")
    until(page, "silri.state.curves.length > 0", 60)


def test_a_killed_loop_comes_back_on_the_open_page(page, run):
    place, _, url = run
    show(page, "robot-2")
    loops = {
        p.cmdline()[p.cmdline().index("--robot") + 1]: p for p in place.members("control loop")
    }
    until(page, "document.body.dataset.situation === 'policy'", 60)
    before = board(page)
    spool = LivePaths(place.path / "r").folder / "robots" / "robot-1" / "control.json"
    known = read_record(spool)
    page.keyboard.down("Space")
    until(page, "document.body.dataset.situation === 'you'", 30)
    loops["robot-2"].send_signal(signal.SIGKILL)
    until(page, "document.body.dataset.situation === 'away'", 10)
    assert board(page)["robot-1"]["phase"] != "away"
    until(page, "['policy', 'turn', 'learning'].includes(document.body.dataset.situation)", 120)
    until(page, "document.body.dataset.situation === 'policy'", 120)
    assert not page.evaluate("silri.drive.driving")  # Space is still down, and means nothing now
    page.keyboard.up("Space")
    drive(page, "Space", steps=2)
    page.keyboard.up("Space")
    assert page.evaluate("silri.state.link") == "open"
    assert page.url.startswith(url.partition("?")[0])  # never loaded again
    record = read_record(spool)
    assert record["pid"] == known["pid"] == loops["robot-1"].pid
    assert record["steps"] > known["steps"]
    assert before["robot-1"]["ready"]


def test_a_killed_console_serves_the_same_page(page, run):
    show(page, "robot-1")
    loops = {each.pid for each in run[0].members("control loop")}
    (console,) = [p for p in run[0].processes() if "silri.console.server" in p.cmdline()]
    until(page, "document.body.dataset.situation === 'policy'", 60)
    console.send_signal(signal.SIGKILL)
    until(page, "document.body.dataset.situation === 'lost'", 10)
    until(page, "document.body.dataset.situation === 'policy'", 60)
    assert page.evaluate("silri.state.robot") == "robot-1"
    drive(page, "Space", steps=2)
    page.keyboard.up("Space")
    assert {each.pid for each in run[0].members("control loop")} == loops


def test_stop_on_the_page_saves_and_ends_the_run(page, run):
    place, command, _ = run
    page.click("[data-command=stop]")
    assert "silri train --resume" in page.inner_text("#confirm")
    page.click("#confirm button[value=stop]")
    command.wait(130, 90)
    assert "was told to stop" in command.text
    assert place.nobody_within(20) == []
