"""Access: axe-core's rules, the keyboard alone, no sideways scrolling from right to left."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from ..npm import unpack
from .conftest import ONE_WAY, watched

pytestmark = pytest.mark.browser
AXE = ("axe-core", "4.14.1", "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745")
PLACES = (
    "",
    "how.html",
    "mine.html",
    "trust.html",
    "docs.html",
    "examples/webrtc.html",
    "examples/track.html",
    "examples/livekit.html",
)


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    return (unpack(*AXE, tmp_path_factory.mktemp("npm")) / "package" / "axe.min.js").read_text()


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


def _violations(page: Page, axe: str) -> list[str]:
    """In light; and in dark, where the colours are all that differs."""
    page.evaluate(axe)
    found = []
    for scheme, rules in (("light", "{}"), ("dark", "{ runOnly: ['color-contrast'] }")):
        page.emulate_media(color_scheme=scheme)
        violations = page.evaluate(f"axe.run({rules})")["violations"]
        found += [f"{scheme}: {v['impact']} {v['id']}: {node['html'][:120]}" for v in violations for node in v["nodes"]]
    return found


def test_axe_finds_nothing(pages: Callable[[str], Page], axe: str, site: Path) -> None:
    for place in PLACES:
        page = pages(place)
        assert _violations(page, axe) == [], place
        if not place:  # with everything shown
            page.click("#sample")
            page.wait_for_selector("#ab:not([disabled])")
            page.click("#costs summary")
            page.set_input_files("#file", site / "sample.flac")
            page.wait_for_selector("#results a")
            assert _violations(page, axe) == []
            page.click("#start")
        if place == "mine.html":  # with what recordings, a fit and its result show
            page.evaluate("for (const element of document.querySelectorAll('main [hidden]')) element.hidden = false")
            assert _violations(page, axe) == []
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
