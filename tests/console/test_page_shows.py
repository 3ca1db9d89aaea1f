"""What the page shows, in real Chromium: who drives, pictures, reasons, commands, all widths."""

from __future__ import annotations

import pytest

from silri.intervention.coach import Kind
from tests.console.page_browser import until
from tests.console.page_feed import EPISODE, HELLO, control, picture, reasons, step

pytestmark = [pytest.mark.slow, pytest.mark.alone]

WIDTHS = {1920: 1080, 1440: 900, 1024: 768, 390: 844}
SITUATIONS = {
    "policy": (control("autonomous"), "The policy drives"),
    "you": (control("human", "page-1", you=True), "You drive"),
    "other": (control("human", "ada"), "ada drives"),
    "paused": (control("paused", reason="no input for 250 ms"), "Paused"),
    "evaluation": (control("evaluation"), "Evaluation"),
    "learning": (control("learning", reason="from the demonstrations"), "The policy learns"),
    "turn": (control("waiting"), "Your turn: show the task"),
    "ended": (control("ended"), "The run has ended"),
}
# The contrast of an element's text to the ground that it is on, after WCAG.
CONTRAST = """(selector) => {
  const element = document.querySelector(selector);
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  let ground = element;
  const clear = (e) => (parse(getComputedStyle(e).backgroundColor)[3] ?? 1) === 0;
  while (clear(ground)) ground = ground.parentElement;
  const [a, b] = [light(parse(getComputedStyle(element).color)),
                  light(parse(getComputedStyle(ground).backgroundColor))];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_who_drives_is_one_large_readable_state(open_page, feed, scheme):
    page = open_page(color_scheme=scheme, reduced_motion="reduce")
    colours = set()
    for name, (message, headline) in SITUATIONS.items():
        feed.say(message)
        until(page, f"document.body.dataset.situation === '{name}'")
        assert page.inner_text("#who") == headline
        colours.add(page.evaluate("getComputedStyle(banner).backgroundColor"))
        for selector in ("#who", "#hint"):
            assert page.evaluate(CONTRAST, selector) >= 4.5, (name, selector)
    assert len(colours) == len(SITUATIONS)
    for selector in (".caption", ".numbers dt", "#episode-task", "[data-command=success] span"):
        assert page.evaluate(CONTRAST, selector) >= 4.5, selector


@pytest.mark.parametrize("kind", [kind.value for kind in Kind])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_coach_says_what_to_do_and_why(open_page, feed, kind, scheme):
    page = open_page(color_scheme=scheme)
    feed.say(control("autonomous"), step(0))
    until(page, "!coach.hidden")
    assert page.inner_text("#coach-why") == "Nothing to do now."
    feed.say(step(1, driver="human"))
    until(page, "document.getElementById('coach-why').textContent.startsWith('Go on')")
    why = "its estimate has not risen for 12 steps"
    feed.say(step(2) | {"advice": {"kind": kind, "why": why}})
    until(page, f"coach.dataset.kind === '{kind}'")
    assert page.inner_text("#coach-what") != "Coach"
    assert page.inner_text("#coach-why") == "I" + why[1:]
    for selector in ("#coach-what", "#coach-why"):
        assert page.evaluate(CONTRAST, selector) >= 4.5, selector
    feed.say(control("evaluation"))
    until(page, "coach.hidden")


def test_a_pause_says_why(open_page, feed):
    feed.greeting[1] = control("paused", "page-1", you=True, reason="no input for 250 ms")
    page = open_page()
    assert "No input for 250 ms." in page.inner_text("#hint")


def test_the_next_picture_is_asked_for_when_the_last_is_drawn(open_page, feed):
    page = open_page()
    for number, colour in enumerate([(250, 0, 0), (0, 250, 0), (0, 0, 250)]):
        assert len(feed.messages("drawn")) == number
        feed.frame(number, picture(colour))
        feed.wait(lambda wanted=number + 1: len(feed.messages("drawn")) == wanted)
        pixel = page.evaluate(
            "[...document.querySelector('#scene canvas').getContext('2d')"
            ".getImageData(30, 30, 1, 1).data]"
        )
        assert pixel[:3] == pytest.approx(colour, abs=8)
        assert page.evaluate("silri.scene.views[0].step") == number
    assert feed.messages("drawn")[0] == {"type": "drawn", "camera": 0}


def test_a_hidden_page_asks_for_no_pictures(open_page, feed):
    page = open_page()
    hide = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true});"
    tell = "document.dispatchEvent(new Event('visibilitychange'))"
    page.evaluate(hide % "true" + tell)
    feed.frame(1, picture((9, 9, 9)))
    page.wait_for_timeout(150)
    assert not feed.messages("drawn")
    page.evaluate(hide % "false" + tell)
    feed.wait(lambda: feed.messages("drawn"))


def test_every_camera_is_drawn_at_its_own_pace(open_page, feed):
    feed.greeting[0] = HELLO | {"cameras": ["front", "wrist"]}
    page = open_page()
    assert page.locator("#scene figure").count() == 2
    feed.frame(3, picture((250, 0, 0)), camera=1)
    feed.wait(lambda: feed.messages("drawn") == [{"type": "drawn", "camera": 1}])
    assert page.locator("#scene figure.empty").count() == 1


def test_commands_carry_the_episode_that_is_shown(open_page, feed):
    page = open_page()
    assert page.get_attribute("[data-command=success]", "aria-disabled") == "true"
    page.keyboard.press("Enter")  # nothing has happened yet in this episode
    page.wait_for_selector(".notices .refused")
    feed.say(step(0))
    until(page, "silri.state.steps.length === 1")
    page.keyboard.press("Enter")
    page.keyboard.press("Backspace")
    feed.say(EPISODE | {"episode": 8}, step(0, episode=8))
    until(page, "silri.state.steps.length === 1 && silri.state.episode.episode === 8")
    page.keyboard.press("Delete")
    page.click("[data-command=reset]")
    page.keyboard.press("p")
    feed.wait(lambda: len(feed.messages("command")) == 5)
    feed.say(control("paused"))
    until(page, "silri.state.control.phase === 'paused'")
    page.keyboard.press("p")
    commands = feed.wait(lambda: len(feed.messages("command")) == 6 and feed.messages("command"))
    assert [(message["command"], message["episode"]) for message in commands] == [
        ("success", 7),
        ("failure", 7),
        ("discard", 8),
        ("reset", 8),
        ("pause", 8),
        ("resume", 8),
    ]


def test_stop_asks_first(open_page, feed):
    page = open_page()
    feed.say(step(0))
    page.click("[data-command=stop]")
    page.keyboard.press("Escape")
    page.wait_for_timeout(50)
    assert not feed.messages("command")
    page.click("[data-command=stop]")
    page.click("#confirm button[value=stop]")
    feed.wait(lambda: feed.messages("command"))
    assert [message["command"] for message in feed.messages("command")] == ["stop"]


@pytest.mark.parametrize("phase", ["evaluation", "ended"])
def test_commands_that_make_no_sense_say_why(open_page, feed, phase):
    page = open_page()
    feed.say(step(0), control(phase))
    until(page, f"silri.state.control.phase === '{phase}'")
    page.wait_for_timeout(50)
    button = page.locator("[data-command=success]")
    assert button.get_attribute("aria-disabled") == "true"
    assert ("evaluation" in button.get_attribute("title")) == (phase == "evaluation")
    button.click(force=True)
    page.wait_for_selector(".notices .refused")
    assert not feed.messages("command")


def test_why_is_drawn_with_the_persons_steps_shaded(open_page, feed):
    page = open_page()
    feed.say(*(step(i, "human" if i < 10 else "policy", **reasons(i)) for i in range(40)))
    page.wait_for_selector("[data-plot=person] canvas")
    until(page, "silri.state.steps.length === 40")
    page.wait_for_timeout(250)
    plots = page.eval_on_selector_all("#why .plot", "all => all.map((p) => p.dataset.plot)")
    assert plots == ["distance", "lambda", "imitation", "q", "person"]
    assert "0.6" in page.inner_text("[data-plot=distance] .legend")
    assert page.locator("#why .plot .caption").count() == 5
    shaded = """(place) => {
      const canvas = document.querySelector('[data-plot=lambda] canvas');
      const ratio = canvas.width / canvas.clientWidth;
      const x = (38 + (canvas.clientWidth - 46) * place / 100) * ratio;
      return canvas.getContext('2d').getImageData(x, 10 * ratio, 1, 1).data[3];
    }"""
    assert page.evaluate(shaded, 5) > 0  # the axis goes to the episode's limit of 100 steps
    assert page.evaluate(shaded, 30) == 0


def test_an_agent_without_reasons_says_so(open_page, feed):
    feed.greeting[0] = HELLO | {"agent": "bc", "diagnostics": []}
    page = open_page()
    feed.say(*(step(i) for i in range(3)))
    until(page, "document.querySelector('#why .empty-note').textContent.startsWith('bc')")
    assert page.locator("#why .plot:visible").count() == 0


def test_numbers_and_curves(open_page, feed):
    page = open_page()
    points = [
        {"env_step": 100, "success": 0.2, "interventions": 0.5, "human_seconds": 30.0},
        {"env_step": 200, "success": 0.6, "interventions": 0.25, "human_seconds": 95.0},
    ]
    points = [point | {"evaluation": None} for point in points]
    points[1]["evaluation"] = 0.7
    feed.say({"type": "curves", "points": points})
    until(page, "document.querySelector('[data-number=success]').textContent === '60 %'")
    numbers = page.eval_on_selector_all("[data-number]", "all => all.map((e) => e.textContent)")
    assert numbers == ["60 %", "70 %", "25 %", "1:35"]


def test_a_reconnection_shows_the_episode_once(open_page, feed):
    feed.greeting += [step(i, **reasons(i)) for i in range(5)]
    feed.greeting.append({"type": "curves", "points": [{"env_step": 9, "success": 1.0}]})
    page = open_page()
    until(page, "silri.state.steps.length === 5")
    feed.hang_up()
    feed.wait(lambda: feed.connections == 2)
    until(page, "silri.state.link === 'open' && silri.state.steps.length === 5")
    assert page.evaluate("silri.state.curves.length") == 1


@pytest.mark.parametrize("cameras", [[], ["scene"]])
def test_that_there_is_no_picture_is_said(open_page, feed, cameras):
    feed.greeting[0] = HELLO | {"cameras": cameras}
    page = open_page()
    feed.say({"type": "picture", "picture": "none", "text": "no renderer here"})
    shown = "getComputedStyle(document.querySelector('#scene figure, #scene'), '::after').content"
    if cameras:
        shown = shown.replace("#scene figure, #scene", "#scene figure")
    until(page, f"{shown}.includes('no renderer here')")


def test_what_is_approximate_is_called_so(open_page, feed):
    page = open_page()
    assert not page.is_visible("#approximate")
    feed.say({"type": "picture", "picture": "approximate", "text": "differs by 0.02"})
    page.wait_for_selector("#approximate:visible")


@pytest.mark.parametrize("width", WIDTHS)
def test_every_width(open_page, feed, width):
    """Nothing is cut off sideways, and what drives lies on the first screen."""
    feed.episodes = [
        {"episode": i, "kind": "training", "success": i % 2 == 0, "length": 20, "return": 1.0}
        | {"human_steps": 5, "human_share": 0.25}
        for i in range(30)
    ]
    page = open_page(width=width, height=WIDTHS[width])
    feed.say(*(step(i, **reasons(i)) for i in range(40)))
    feed.frame(1, picture((90, 90, 120)))
    page.wait_for_timeout(200)
    for tab in ("progress", "episodes", "map", "why"):
        if page.is_visible(f"[role=tab][data-tab={tab}]"):
            page.click(f"[role=tab][data-tab={tab}]")
        page.wait_for_timeout(60)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.is_visible("#why")
    for selector in ("#banner", "#scene", "#stick", "#commands", "#grip"):
        box = page.locator(selector).bounding_box()
        assert box["x"] >= 0, selector
        assert box["x"] + box["width"] <= width, selector
        assert box["y"] + box["height"] <= WIDTHS[width], selector
    wide = page.eval_on_selector_all(
        "button, .segments span, h3, dt, dd, #who",
        "all => all.filter((e) => e.scrollWidth > e.clientWidth + 1 && e.clientWidth)"
        ".map((e) => e.outerHTML)",
    )
    assert wide == []
    if width == 390:
        assert page.locator("#stick").bounding_box()["width"] > 180
