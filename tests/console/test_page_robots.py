"""Several robots on the page: the bar, switching by click and by key, one that has gone."""

from __future__ import annotations

import pytest

from tests.console.page_browser import until
from tests.console.page_feed import EPISODE, HELLO, control, picture, step

pytestmark = [pytest.mark.slow, pytest.mark.alone]


def robot(name, phase="autonomous", **more):
    known = {"holder": None, "ready": True, "success": 0.25, "coach": None}
    return {"name": name, "phase": phase, **known, **more}


def board(*robots):
    return {"type": "robots", "robots": list(robots)}


TWO = board(robot("robot-1"), robot("arm-b", coach="take_over"))


@pytest.fixture
def several(feed):
    feed.greeting = [TWO, HELLO, control("autonomous"), EPISODE, step(0)]
    return feed


def text(page, name, part):
    return page.inner_text(f"#robots [data-robot='{name}'] .{part}")


def test_one_robot_has_no_bar(open_page, feed):
    page = open_page()
    assert page.is_hidden("#robots")
    page.keyboard.press("2")  # of an arm that is not there
    assert feed.connections == 1


def test_the_bar_says_who_drives_and_where_somebody_is_needed(open_page, several):
    page = open_page()
    until(page, "document.querySelectorAll('#robots button').length === 2")
    assert text(page, "robot-1", "doing") == "the policy drives"
    assert text(page, "robot-1", "success") == "25 %"
    assert text(page, "arm-b", "need") == "It is stuck"
    assert page.is_hidden("#robots [data-robot=robot-1] .need")
    assert page.get_attribute("#robots [data-robot=robot-1]", "aria-current") == "true"
    more = {"holder": "page-7", "success": None}
    several.say(board(robot("robot-1", "paused"), robot("arm-b", "human", **more)))
    until(page, "silri.state.robots[0].phase === 'paused'")
    assert page.is_hidden("#robots [data-robot=robot-1] .need")  # the page shows it, and larger
    assert page.is_hidden("#robots [data-robot=arm-b] .need")
    assert text(page, "arm-b", "doing") == "page-7 drives"
    assert text(page, "arm-b", "success") == ""
    several.say(board(robot("robot-1"), robot("arm-b", "waiting")))
    until(page, "silri.state.robots[1].phase === 'waiting'")
    assert text(page, "arm-b", "need") == "needs you"
    several.say(board(robot("robot-1", "human"), robot("arm-b", "human", coach="let_go")))
    until(page, "silri.state.robots[1].coach === 'let_go'")
    assert page.is_hidden("#robots [data-robot=arm-b] .need")  # whoever drives it is told
    several.say(board(robot("robot-1", "away"), robot("arm-b", ready=False)))
    until(page, "silri.state.robots[0].phase === 'away'")
    assert (text(page, "robot-1", "doing"), text(page, "arm-b", "doing")) == ("is away", "starts")


def elsewhere(**more):
    where = {"host": "cell-2", "address": "http://10.0.0.7:8420/", "reachable": True, "silent": 0}
    return robot("arm-b", **{**where, **more})


def test_a_robot_on_another_machine_is_shown_and_leads_to_its_own_page(open_page, several):
    several.greeting[0] = board(robot("robot-1"), elsewhere(phase="paused", holder="page-7"))
    page = open_page()
    until(page, "document.querySelectorAll('#robots [data-robot]').length === 2")
    link = page.query_selector("#robots [data-robot=arm-b]")
    assert page.inner_text("#robots [data-robot=arm-b] strong") == "arm-b on cell-2"
    assert text(page, "arm-b", "doing") == "paused"
    assert text(page, "arm-b", "need") == "needs you"
    assert link.get_attribute("href") == "http://10.0.0.7:8420/"
    assert link.get_attribute("target") == "_blank"
    assert page.query_selector("#robots kbd") is None  # nothing to switch to here
    page.keyboard.press("2")
    page.wait_for_timeout(100)
    assert several.connections == 1
    several.say(board(robot("robot-1"), elsewhere(silent=75)))
    until(page, "silri.state.robots[1].silent === 75")
    assert text(page, "arm-b", "doing") == "not heard of for 1 min"
    assert link.get_attribute("data-phase") == "away"
    assert page.is_hidden("#robots [data-robot=arm-b] .need")
    several.say(board(robot("robot-1"), elsewhere(address="http://127.0.0.1:9/", reachable=False)))
    until(page, "silri.state.robots[1].reachable === false")
    link = page.query_selector("#robots [data-robot=arm-b]")
    assert link.get_attribute("href") is None
    assert "ssh -L 9:127.0.0.1:9 cell-2" in link.get_attribute("title")


@pytest.mark.parametrize("how", ["key", "click"])
def test_switching_lets_go_first_and_carries_nothing_over(open_page, several, how):
    page = open_page()
    several.frame(0, picture((200, 0, 0)))
    until(page, "silri.scene.views[0].step === 0")
    page.keyboard.press("g")
    page.keyboard.down("ArrowRight")
    several.wait(several.axes)
    if how == "key":
        page.keyboard.press("2")
    else:
        page.click("#robots [data-robot=arm-b]")
    several.wait(lambda: several.connections == 2)
    several.wait(lambda: several.messages("gone", 1))
    until(page, "silri.state.hello !== null")
    assert several.queries[-1]["robot"] == "arm-b"
    last = several.messages("input", 1)[-1]
    assert (last["hold"], last["axes"]) == (False, [0, 0, 0, 0])
    page.wait_for_timeout(200)
    assert several.messages("input", 2) == []  # the key is still down
    assert page.evaluate("silri.scene.views[0].step") is None  # nor is the other's picture there
    assert page.evaluate("silri.drive.grip.size") == 0
    assert "robot=arm-b" in page.url  # and stays when the page is loaded again
    page.keyboard.up("ArrowRight")
    page.keyboard.down("ArrowRight")
    several.wait(lambda: several.messages("input", 2))
    page.keyboard.up("ArrowRight")


def test_a_robot_that_has_gone_is_said_and_another_one_shown(open_page, several):
    gone = {**TWO, "type": "gone", "text": "there is no robot 'x' here; there is robot-1, arm-b"}
    several.once = [gone]
    several.url += "?robot=x"
    page = open_page(wait=False)
    until(page, "silri.state.hello !== null && silri.state.robot === 'robot-1'", 10)
    assert "no robot 'x' here" in page.inner_text("#notices")


def test_a_robot_that_goes_away_must_be_taken_anew(open_page, several):
    page = open_page()
    page.keyboard.down("Space")
    several.wait(several.held)
    several.say(control("away", "page-1", you=True, reason="its control loop is not there"))
    until(page, "document.body.dataset.situation === 'away'")
    assert page.inner_text("#who") == "The robot is away"
    several.wait(several.released)
    sent = len(several.held())
    several.say(control("autonomous", "page-1", you=True))
    page.wait_for_timeout(200)
    assert len(several.held()) == sent
    several.say(control("standby", reason="waiting for parameters"))
    until(page, "document.body.dataset.situation === 'standby'")
    page.keyboard.up("Space")
    page.keyboard.down("Space")
    page.wait_for_timeout(100)
    assert len(several.held()) == sent  # nothing drives now


@pytest.mark.parametrize("width", [390, 768, 1440])
def test_the_bar_fits(open_page, several, width):
    page = open_page(width=width, height=844)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    boxes = page.evaluate(
        "[...document.querySelectorAll('#robots strong, #robots .need:not([hidden])')]"
        ".map((e) => [e.scrollWidth, e.clientWidth, e.getBoundingClientRect().right])"
    )
    assert all(wanted <= there for wanted, there, _ in boxes)  # no name is cut off
    assert all(right <= width for _, _, right in boxes)


def test_the_dialog_says_what_stop_ends(open_page, several):
    several.greeting[1] = {**HELLO, "stops": "robot", "part": True}
    page = open_page()
    page.click("[data-command=stop]")
    assert "other robots go on" in page.inner_text("#confirm")
    assert "--resume" not in page.inner_text("#confirm")
