"""Joystick on the screen and gamepad, in real Chromium."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.alone]

PAD = """
window.pad = {id: 'a pad', connected: true, axes: [0, 0, 0, 0],
  buttons: Array.from({length: 16}, () => ({pressed: false, value: 0}))};
navigator.getGamepads = () => [null, window.pad];
"""


def test_a_gamepad_drives_while_a_shoulder_is_held(open_page, feed):
    page = open_page(script=PAD)
    page.evaluate("pad.axes = [1, 0, 0, 0]")
    page.wait_for_timeout(120)
    assert not feed.messages("input")  # a stick alone takes nothing over
    page.evaluate("pad.buttons[5].pressed = true")
    feed.wait(lambda: feed.axes() == [1, 0, 0, -1])
    page.evaluate("pad.axes = [0.1, -0.56, 0, -1]")  # 0.1 is within the dead zone
    feed.wait(lambda: feed.axes() == pytest.approx([0, 0.5, 1, -1], abs=1e-6))
    page.evaluate("pad.buttons[0].pressed = true")
    feed.wait(lambda: feed.axes()[3] == 1)
    page.evaluate("pad.buttons[5].pressed = false")
    feed.wait(feed.released)
    page.wait_for_timeout(80)
    assert len(feed.released()) == 1


def test_a_gamepad_that_is_unplugged_lets_go(open_page, feed):
    page = open_page(script=PAD)
    page.evaluate("pad.axes = [1, 0, 0, 0]; pad.buttons[4].pressed = true")
    feed.wait(lambda: len(feed.held()) > 2)
    page.evaluate("navigator.getGamepads = () => [null, null]")
    feed.wait(feed.released)


def test_a_shoulder_held_over_a_blur_must_be_pressed_anew(open_page, feed):
    page = open_page(script=PAD)
    page.evaluate("pad.buttons[4].pressed = true")
    feed.wait(lambda: len(feed.held()) > 2)
    page.evaluate("dispatchEvent(new Event('blur'))")
    feed.wait(feed.released)
    known = len(feed.held())
    page.wait_for_timeout(120)
    assert len(feed.held()) == known
    page.evaluate("pad.buttons[4].pressed = false")
    page.wait_for_timeout(60)
    page.evaluate("pad.buttons[4].pressed = true")
    feed.wait(lambda: len(feed.held()) > known)


def center(page, selector):
    box = page.locator(selector).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, box["width"]


def test_the_joystick_with_a_mouse(open_page, feed):
    page = open_page()
    x, y, width = center(page, "#stick")
    page.mouse.move(x, y)
    page.mouse.down()
    feed.wait(feed.held)
    assert feed.axes() == [0, 0, 0, -1]  # pressed in the middle: hold without moving
    page.mouse.move(x - width, y)  # beyond the edge, and outside of the element
    feed.wait(lambda: feed.axes() == pytest.approx([-1, 0, 0, -1], abs=1e-6))
    page.mouse.up()
    feed.wait(feed.released)
    assert page.evaluate("getComputedStyle(stick).getPropertyValue('--right')") == "0.000"


def test_joystick_and_height_with_two_fingers(open_page, feed):
    page = open_page(width=390, height=844, has_touch=True, is_mobile=True)
    x, y, width = center(page, "#stick")
    lift_x, lift_y, _ = center(page, "#lift")
    cdp = page.context.new_cdp_session(page)

    def touch(kind, *points):
        parts = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": parts})

    touch("touchStart", (x, y))
    touch("touchStart", (x, y), (lift_x, lift_y))
    touch("touchMove", (x, y - width), (lift_x, lift_y + 300))
    feed.wait(lambda: feed.axes() == pytest.approx([0, 1, -1, -1], abs=1e-6))
    touch("touchEnd", (x, y - width))
    feed.wait(lambda: feed.axes() == pytest.approx([0, 0, -1, -1], abs=1e-6))
    assert not feed.released()
    touch("touchEnd")
    feed.wait(feed.released)
    page.tap("#grip")
    feed.wait(lambda: feed.axes() == [0, 0, 0, 1])


def test_a_blur_drops_the_pointer_too(open_page, feed):
    page = open_page()
    x, y, width = center(page, "#stick")
    page.mouse.move(x, y)
    page.mouse.down()
    feed.wait(feed.held)
    page.evaluate("dispatchEvent(new Event('blur'))")
    feed.wait(feed.released)
    known = len(feed.held())
    page.mouse.move(x + width / 4, y)
    page.wait_for_timeout(80)
    assert len(feed.held()) == known
