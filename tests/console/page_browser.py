"""Real Chromium for the tests of the page."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator

import pytest

from tests.console.page_feed import Feed

CHROMIUM = shutil.which("chromium")


def until(page, expression: str, seconds: float = 5.0) -> None:
    """Wait for an expression; Playwright's own way needs eval, which the page's policy forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"not after {seconds} s: {expression}"
        page.wait_for_timeout(10)


@pytest.fixture(scope="session")
def browser() -> Iterator:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine (.ci/run installs it)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def feed() -> Iterator[Feed]:
    feed = Feed()
    with feed.serving():
        yield feed


class Errors(list):
    """What a page complained about; a lost connection is all that it may mention."""

    def watch(self, page) -> None:
        page.on("pageerror", lambda error: self.append(f"error: {error}"))
        page.on("console", self._console)

    def _console(self, message) -> None:
        # Reading pixels is the tests' doing.
        allowed = ("WebSocket connection", "net::ERR_", "willReadFrequently")
        if message.type in ("error", "warning") and not any(t in message.text for t in allowed):
            self.append(f"{message.type}: {message.text}")


@pytest.fixture
def open_page(browser, feed) -> Iterator:
    """Open the page of ``feed``; at the end no page may have complained."""
    errors, contexts = Errors(), []

    def open_page(width=1440, height=900, script=None, wait=True, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        errors.watch(page)
        if script:
            page.add_init_script(script)
        known = feed.connections
        page.goto(feed.url)
        if wait:
            feed.wait(lambda: feed.connections > known)
            until(page, "silri.state.hello !== null && silri.state.episode !== null")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []
