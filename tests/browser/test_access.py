"""Access: axe-core's rules, the keyboard alone, no sideways scrolling from right to left."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from .conftest import ONE_WAY, violations, watched

pytestmark = pytest.mark.browser
PLACES = (
    "",
    "how.html",
    "mine.html",
    "trust.html",
    "docs.html",
    "source.html",
    "examples/webrtc.html",
    "examples/track.html",
    "examples/livekit.html",
)


@pytest.fixture
def pages(browser: Browser, serve: Callable[[bool], str]) -> Iterator[Callable]:
    context = browser.new_context()

    def visit(place: str) -> Page:
        page = watched(context)
        page.goto(serve(True) + place)
        if place in ("", "how.html", "mine.html"):
            page.wait_for_selector("body[data-engine=ready]")
        if place == "trust.html":
            page.wait_for_selector("body[data-shown]")
        return page

    yield visit
    context.close()


def test_axe_finds_nothing(pages: Callable[[str], Page], axe: str, site: Path) -> None:
    for place in PLACES:
        page = pages(place)
        assert violations(page, axe, repetitive=place in ("docs.html", "source.html")) == [], place
        if not place:  # with everything shown
            page.click("#sample")
            page.wait_for_selector("#ab:not([disabled])")
            page.click("#costs summary")
            page.set_input_files("#file", site / "sample.flac")
            page.wait_for_selector("#results a")
            assert violations(page, axe) == []
            page.click("#start")
        if place == "mine.html":  # with what recordings, a fit and its result show
            page.evaluate("for (const element of document.querySelectorAll('main [hidden]')) element.hidden = false")
            assert violations(page, axe) == []
        page.close()


@ONE_WAY
def test_keyboard_alone(page: Page) -> None:
    """Every control is reached with Tab, in reading order, and works with the keyboard."""
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.id"))
        if seen[-1] == "sample":
            page.keyboard.press("Enter")
            page.wait_for_selector("#ab:not([disabled])")
        if seen[-1] == "monitor":
            page.keyboard.press("Space")
        if seen[-1] == "file":
            break
    order = [name for name in seen if name in ("start", "sample", "ab", "strength", "monitor", "record", "file")]
    assert order[:7] == ["start", "sample", "ab", "strength", "monitor", "record", "file"]
    assert page.is_checked("#monitor")
    page.focus("#strength")
    page.keyboard.press("ArrowLeft")
    assert page.inner_text("#strength-value") == "41 dB"
    page.click("#start")


@pytest.mark.parametrize("place", PLACES)
def test_right_to_left_and_narrow(browser: Browser, serve: Callable[[bool], str], place: str) -> None:
    context = browser.new_context(viewport={"width": 320, "height": 700})
    page = watched(context)
    page.goto(serve(True) + place)
    for direction in ("ltr", "rtl"):
        page.evaluate(f"document.documentElement.dir = '{direction}'")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), direction
    context.close()
