"""Fixtures of the console's tests: the browser ones start nothing until a test asks for them."""

from __future__ import annotations

from tests.console.page_browser import browser, feed, open_page

__all__ = ["browser", "feed", "open_page"]
