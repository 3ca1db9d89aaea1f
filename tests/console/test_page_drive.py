"""The page in real Chromium: what is held is sent, and nothing is sent when nothing is held."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.console.page_browser import until
from tests.console.page_feed import AXES, GRIPPER, HELLO, control, step

pytestmark = [pytest.mark.slow, pytest.mark.alone]


def test_a_held_key_is_sent_and_its_release_once(open_page, feed):
    page = open_page()
    page.keyboard.down("ArrowRight")
    feed.wait(lambda: len(feed.held()) >= 20)
    page.keyboard.up("ArrowRight")
    feed.wait(feed.released)
    page.wait_for_timeout(150)
    inputs = feed.messages("input")
    sequences = [message["sequence"] for message in inputs]
    assert sequences == sorted(set(sequences))
    assert all(message["axes"] == [1, 0, 0, -1] for message in feed.held())
    assert len(feed.released()) == 1
    assert inputs[-1] == feed.released()[0]
    assert inputs[-1]["axes"] == [0, 0, 0, 0]
    times = [message["time"] for message in inputs]
    assert times == sorted(times)
    held = times[:-1]
    assert (len(held) - 1) / (held[-1] - held[0]) < 0.066  # per millisecond of the page's clock
    assert min(b - a for a, b in pairwise(times[:-1])) > 14


def test_another_key_is_sent_at_once(open_page, feed):
    """And not when the next message is due."""
    page = open_page()
    page.keyboard.down("Space")
    feed.wait(feed.held)
    pressed = """new Promise((done) => addEventListener("keydown", () => setTimeout(() => {
      done(silri.drive.last.axes[0]);
    }), { once: true }))"""
    page.evaluate(f"window.pressed = {pressed}; 0")
    page.keyboard.down("ArrowRight")
    assert page.evaluate("window.pressed") == 1


KEYS = {
    "ArrowLeft": [-1, 0, 0, -1],
    "ArrowUp": [0, 1, 0, -1],
    "ArrowUp ArrowRight": [1, 1, 0, -1],
    "w": [0, 0, 1, -1],
    "PageDown ArrowDown": [0, -1, -1, -1],
    "ArrowLeft ArrowRight": [0, 0, 0, -1],
    "Space": [0, 0, 0, -1],
    "Shift ArrowUp": [0, 0.25, 0, -1],
    "g": [0, 0, 0, 1],
}


def test_what_keys_mean(open_page, feed):
    page = open_page()
    for keys, axes in KEYS.items():
        known = len(feed.released())
        for key in keys.split():
            page.keyboard.down(key)
        feed.wait(lambda wanted=axes: feed.axes() == pytest.approx(wanted, abs=1e-6))
        for key in keys.split():
            page.keyboard.up(key)
        feed.wait(lambda known=known: len(feed.released()) > known)


def test_the_gripper_is_taken_over_as_it_is_and_toggled(open_page, feed):
    page = open_page()
    closed = step(0) | {"action": [0, 0, 0, 1.0]}
    feed.say(closed)
    until(page, "silri.state.steps.length === 1")
    page.keyboard.down("ArrowUp")
    feed.wait(feed.held)
    assert feed.held()[0]["axes"] == [0, 1, 0, 1]
    page.keyboard.press("g")
    feed.wait(lambda: feed.axes() == [0, 1, 0, -1])
    page.keyboard.up("ArrowUp")
    feed.wait(feed.released)


def test_further_axes_and_two_arms(open_page, feed):
    one = [*AXES, {"name": "turn", "kind": "axis"}, GRIPPER]
    feed.greeting[0] = HELLO | {"actions": one + one}
    page = open_page()
    page.keyboard.down("e")
    feed.wait(lambda: feed.axes() == [0, 0, 0, 1, -1, 0, 0, 0, 0, -1])
    page.keyboard.up("e")
    page.keyboard.press("2")
    page.keyboard.down("ArrowRight")
    feed.wait(lambda: feed.axes() == [0, 0, 0, 0, -1, 1, 0, 0, 0, -1])


@pytest.mark.parametrize("camera", ["corner2", "mirrored"])
def test_an_arrow_moves_the_hand_that_way_on_the_picture(open_page, feed, camera):
    """Meta-World's corner2, upright, and the same picture seen in a mirror."""
    view = [[0.016, -0.012], [0.023, 0.009], [-0.002, 0.025], [0, 0]]
    if camera == "mirrored":
        view = [[-right, up] for right, up in view]
    feed.greeting[0] = HELLO | {"view": {"scene": view}}
    page = open_page()
    for key, (right, up) in {"ArrowRight": (1, 0), "ArrowUp": (0, 1), "ArrowLeft": (-1, 0)}.items():
        before = len(feed.held())
        page.keyboard.down(key)
        feed.wait(lambda known=before: len(feed.held()) > known)
        page.keyboard.up(key)
        x, y, z, _ = feed.axes()
        moved = [x * view[0][k] + y * view[1][k] for k in (0, 1)]
        assert z == 0
        assert max(abs(x), abs(y)) == pytest.approx(1.0)
        if right:
            # The ground is seen at an angle: right is right, and nearly level.
            assert moved[0] * right > 2 * abs(moved[1])
        else:
            assert abs(moved[0]) < 1e-6
            assert moved[1] * up > 0


LOSE = {
    "blur": "dispatchEvent(new Event('blur'))",
    "hidden": "Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
    "document.dispatchEvent(new Event('visibilitychange'))",
    "typing": "document.querySelector('#episodes select').focus()",
    "stalled": "const end = performance.now() + 700; while (performance.now() < end);",
    "settings": "document.getElementById('open-settings').click()",
}


@pytest.mark.parametrize("how", LOSE)
def test_losing_the_person_lets_go(open_page, feed, how):
    page = open_page(script="localStorage.setItem('silri-console', '{\"tab\": \"episodes\"}')")
    page.keyboard.down("ArrowRight")
    feed.wait(lambda: len(feed.held()) >= 3)
    page.evaluate(LOSE[how])
    feed.wait(feed.released)
    known = len(feed.messages("input"))
    page.wait_for_timeout(150)
    assert feed.released()[-1]["axes"] == [0, 0, 0, 0]
    assert len(feed.messages("input")) == known  # the key is down still, and counts no more
    assert page.evaluate("silri.drive.reason") == how
    page.keyboard.up("ArrowRight")


def test_leaving_the_page_lets_go(open_page, feed):
    page = open_page()
    page.keyboard.down("ArrowRight")
    feed.wait(lambda: len(feed.held()) >= 3)
    page.goto("about:blank")
    # A browser may drop what is sent while it leaves: then the socket's end is the release.
    feed.wait(lambda: feed.released() or feed.messages("gone"), 0.3)
    page.wait_for_timeout(50)
    assert not feed.messages("input")[-1]["hold"] or feed.messages("gone")


def test_a_lost_socket_lets_go_and_needs_a_new_press(open_page, feed):
    page = open_page()
    page.keyboard.down("ArrowRight")
    feed.wait(lambda: len(feed.held()) >= 3)
    feed.accepts = False
    feed.hang_up()
    until(page, "document.body.dataset.situation === 'lost'")
    assert page.evaluate("silri.drive.driving") is False
    assert page.inner_text("#who") == "Disconnected"
    feed.accepts = True
    feed.wait(lambda: feed.connections == 2)
    until(page, "document.body.dataset.situation === 'policy'")
    page.wait_for_timeout(100)
    assert not feed.messages("input", 2)
    page.keyboard.up("ArrowRight")
    page.keyboard.down("ArrowRight")
    again = feed.wait(lambda: feed.messages("input", 2))
    assert again[0]["sequence"] > feed.messages("input", 1)[-1]["sequence"]


def test_silence_is_a_loss(open_page, feed):
    page = open_page()
    until(page, "silri.link.answers")
    feed.answers = False
    until(page, "silri.link.attempt > 0", seconds=8)
    feed.answers = True
    feed.wait(lambda: feed.connections == 2)


def test_typing_into_a_field_does_not_drive(open_page, feed):
    page = open_page()
    page.evaluate("document.body.append(document.createElement('input'))")
    page.focus("body > input")
    page.keyboard.type("wasd g p")
    page.keyboard.press("Enter")
    page.wait_for_timeout(100)
    assert page.input_value("body > input") == "wasd g p"
    assert not feed.messages("input")
    assert not feed.messages("command")


def test_keys_drive_whatever_was_clicked(open_page, feed):
    """Space does not press the button that was clicked, and an arrow does not move a slider."""
    page = open_page()
    feed.say(step(0))
    until(page, "silri.state.steps.length === 1")
    page.click("[data-command=pause]")
    feed.wait(lambda: feed.messages("command"))
    page.keyboard.down("Space")
    feed.wait(feed.held)
    page.keyboard.up("Space")
    page.click("#speed label:nth-of-type(2)")
    page.keyboard.down("ArrowRight")
    feed.wait(lambda: feed.axes() == [0.5, 0, 0, -1])
    page.keyboard.up("ArrowRight")
    page.focus("[data-command=pause]")  # with Tab
    page.keyboard.down("Space")
    feed.wait(lambda: feed.axes() == [0, 0, 0, -1])
    page.keyboard.up("Space")
    assert len(feed.messages("command")) == 1


def test_who_watches_does_not_drive(open_page, feed):
    first = open_page()
    second = open_page()
    feed.say(control("human", "ada", you=True), to=1)
    feed.say(control("human", "ada"), to=2)
    until(second, "document.body.dataset.situation === 'other'")
    until(first, "document.body.dataset.situation === 'you'")
    assert second.inner_text("#who") == "ada drives"
    second.keyboard.down("ArrowUp")
    second.wait_for_timeout(120)
    assert not feed.messages("input", 2)
    second.click("#take")
    feed.wait(lambda: feed.messages("take_control", 2))
    feed.say({"type": "refused", "text": "ada has control and drove 2 s ago"}, to=2)
    second.wait_for_selector(".notices .refused")
    assert "ada" in second.inner_text(".notices")


@pytest.mark.parametrize("phase", ["evaluation", "learning", "ended"])
def test_nobody_drives_in(open_page, feed, phase):
    feed.greeting[1] = control(phase)
    page = open_page()
    page.keyboard.down("ArrowUp")
    page.wait_for_timeout(120)
    assert not feed.messages("input")
