"""Stored episodes and the map, in real Chromium."""

from __future__ import annotations

import pytest

from tests.console.page_browser import until
from tests.console.page_feed import HELLO, picture, step

pytestmark = [pytest.mark.slow, pytest.mark.alone]


@pytest.fixture
def stored(feed):
    feed.episodes = [
        {"episode": i, "kind": "training", "success": i != 2, "length": 10 + i, "return": 1.0}
        | {"human_steps": 5 * (i == 1), "human_share": 0.5 * (i == 1)}
        for i in range(4)
    ]
    return feed


@pytest.fixture
def page(open_page, stored):
    stored.greeting = [HELLO | {"mode": "replay", "operator": "expert"}]
    page = open_page(wait=False)
    page.wait_for_selector("#episodes tbody tr")
    return page


def test_a_finished_run_lists_its_episodes(page, stored):
    assert page.inner_text("#who") == "A stored run"
    assert page.get_attribute("[role=tab][data-tab=episodes]", "aria-selected") == "true"
    assert not page.is_visible("#controls")
    rows = page.locator("#episodes tbody tr")
    assert rows.count() == 4
    assert rows.nth(0).inner_text().split("\t")[0].strip() == "3"  # the newest first
    assert "failure" in rows.nth(1).inner_text()
    assert "50 %" in rows.nth(2).inner_text()
    page.select_option("#episodes select", "failure")
    assert rows.count() == 1
    assert page.inner_text("[data-part=count]") == "1 of 4"


def test_an_episode_is_replayed_with_its_pictures_and_reasons(page, stored):
    page.click("#episodes tr[data-episode='3']")
    until(page, "silri.state.replay !== null && silri.scene.views[0].step === 0")
    assert page.inner_text("#who") == "Stored episode 3"
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    until(page, "silri.scene.views[0].step === 3")
    red = page.evaluate(
        "document.querySelector('#scene canvas').getContext('2d').getImageData(9, 9, 1, 1).data[0]"
    )
    assert red == pytest.approx(30, abs=8)  # the picture of step 3
    assert stored.asked[-1] == "/api/episodes/3/frames/3.jpg"
    page.keyboard.press("Space")
    until(page, "silri.state.replay.cursor === 12 && !silri.state.replay.playing")
    page.locator("#player input").fill("5")
    until(page, "silri.scene.views[0].step === 5")
    page.click("[role=tab][data-tab=why]")
    page.wait_for_selector("#why [data-plot=person]")
    page.wait_for_timeout(200)
    assert "5.5" in page.inner_text("[data-plot=q] .legend")  # q_policy of step 5
    page.click("#player [data-part=back]")
    until(page, "document.body.dataset.situation === 'stored'")
    assert not stored.messages("input")


def test_scrubbing_fast_asks_for_the_newest_only(page, stored):
    page.click("#episodes tr[data-episode='3']")
    until(page, "silri.state.replay !== null && silri.scene.views[0].step === 0")
    known = len(stored.asked)
    page.evaluate("for (let i = 1; i < 13; i += 1) silri.library.seek(i)")
    until(page, "silri.scene.views[0].step === 12")
    assert len(stored.asked) - known <= 2


def test_the_map(page, stored):
    page.click("[role=tab][data-tab=map]")
    page.wait_for_selector("#map canvas")
    until(page, "document.querySelector('[data-part=scale]').textContent !== ''")
    colours = page.evaluate(
        """(() => {
          const canvas = document.querySelector('#map canvas');
          const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
          const seen = new Set();
          for (let i = 0; i < data.length; i += 4) {
            if (data[i + 3] === 255) seen.add(data.slice(i, i + 3).join());
          }
          return seen.size;
        })()"""
    )
    assert colours > 30  # fifty weights, each its colour


def test_who_looks_at_a_stored_episode_does_not_drive_the_live_one(open_page, stored):
    page = open_page()
    stored.say(step(0))
    page.click("[role=tab][data-tab=episodes]")
    page.click("#episodes tr[data-episode='1']")
    until(page, "document.body.dataset.situation === 'replay'")
    page.keyboard.down("ArrowRight")
    page.wait_for_timeout(100)
    page.keyboard.up("ArrowRight")
    page.keyboard.press("Enter")
    stored.frame(5, picture((0, 250, 0)))  # the live picture is not put over the stored one
    stored.wait(lambda: stored.messages("drawn"))
    assert page.evaluate("silri.scene.views[0].step") <= 1
    assert not stored.messages("input")
    assert not stored.messages("command")
    page.keyboard.press("Escape")
    until(page, "document.body.dataset.situation === 'policy'")
    page.keyboard.down("ArrowRight")
    stored.wait(stored.held)
