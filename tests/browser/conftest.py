"""Headless Chromium and the site's server, with and without the isolation headers."""

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, Request, expect, sync_playwright

from ..conftest import PATIENCE_S, ROOT
from ..npm import unpack
from . import tap

sys.path.insert(0, str(ROOT / "wasm"))
from serve import make_server

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--js-flags=--expose-gc",
    "--enable-precise-memory-info",
]
READY_MS = 1000 * PATIENCE_S
"""For whatever a page is waited for: the default of `watched` pages and of `expect`, so that no wait needs its own."""

expect.set_options(timeout=READY_MS)
SCREENSHOTS = ROOT / "dist" / "screenshots"


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as p:
        yield p


@pytest.fixture(scope="session")
def microphone_wav(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled noisy sample as the file that Chromium's fake microphone plays, in a loop."""
    import soundfile

    x, rate = soundfile.read(site / "sample.flac", dtype="int16")
    path = tmp_path_factory.mktemp("microphone") / "noisy.wav"
    soundfile.write(path, x, rate, subtype="PCM_16")
    return path


def chromium() -> str | None:
    """$PYENHANCE_CHROMIUM, Debian's, or, where this is None, Playwright's own."""
    return os.environ.get("PYENHANCE_CHROMIUM") or shutil.which("chromium")


def launch(playwright: Playwright, *flags: str) -> Browser:
    """Chromium without a window."""
    return playwright.chromium.launch(executable_path=chromium(), args=[*FLAGS, *flags], timeout=READY_MS)


@pytest.fixture(scope="session")
def browser(playwright: Playwright, microphone_wav: Path) -> Iterator[Browser]:
    """With a fake microphone that is allowed."""
    fake = f"--use-file-for-fake-audio-capture={microphone_wav}"
    browser = launch(playwright, "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", fake)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def serve(site: Path) -> Iterator[Callable[[bool], str]]:
    """Start (once) a server; returns its address. The argument: isolation headers or not."""
    servers: dict[bool, Any] = {}

    def start(isolation: bool) -> str:
        if isolation not in servers:
            servers[isolation] = tap.offer(make_server(site, 0, isolation=isolation, quiet=True))
            threading.Thread(target=servers[isolation].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[isolation].server_port}/"

    yield start
    for server in servers.values():
        server.shutdown()
        server.server_close()


def watched(context: BrowserContext) -> Page:
    """A page whose every request is noted in `page.seen`, and whose script errors in `page.errors`."""
    page = context.new_page()
    page.set_default_timeout(READY_MS)
    page.seen, page.errors = [], []

    def note(request: Request) -> None:
        page.seen.append(request.url)

    context.on("request", note)  # of the context: workers' requests are not the page's
    page.on("close", lambda _: context.remove_listener("request", note))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    return page


def ready_page(context: BrowserContext, address: str) -> Page:
    """The site's page, its engine ready."""
    page = watched(context)
    page.goto(address)
    page.wait_for_selector("body[data-engine=ready]")
    return page


def until(page: Page, condition: str | Callable[[], Any], argument: Any = None) -> Any:
    """What a JavaScript expression, or a function of the argument, or one of Python, gives as soon as it is true.

    The page is asked again and again: its policy forbids Playwright's own way, which compiles text there.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not (value := condition() if callable(condition) else page.evaluate(condition, argument)):
        assert time.monotonic() < deadline, f"{condition} is {value!r} after {PATIENCE_S} s"
        page.wait_for_timeout(100)
    return value


def assert_own_host_only(page: Page, address: str) -> None:
    """Nothing was asked of another host, and no script failed."""
    own = urlparse(address).netloc
    foreign = [url for url in page.seen if urlparse(url).scheme in ("http", "https") and urlparse(url).netloc != own]
    assert page.seen and not foreign, foreign
    assert not page.errors, page.errors


HOSTING = {
    "shared, audio thread": (True, "audio"),
    "messages, worker": (False, "worker"),
    "shared, worker": (True, "worker"),
    "messages, audio thread": (False, "audio"),
}
"""Isolation headers or not, and where live sound is enhanced."""

EVERYWHERE = pytest.mark.parametrize("page", HOSTING.values(), ids=HOSTING, indirect=True)
"""In all four ways; other tests take two that differ in both."""

ONE_WAY = pytest.mark.parametrize("page", [HOSTING["shared, audio thread"]], ids=["shared"], indirect=True)
"""Where it makes no difference."""


@pytest.fixture(scope="session")
def visitor(browser: Browser) -> Iterator[BrowserContext]:
    """One who comes again and again: the engine starts from what the first visit kept."""
    context = browser.new_context(service_workers="block")  # which hides requests
    yield context
    context.close()


@contextmanager
def visit(visitor: BrowserContext, address: str, query: str = "") -> Iterator[Page]:
    """The site's page, its engine ready, as one finds it who has chosen nothing yet; the network is watched."""
    page = watched(visitor)
    page.goto(f"{address}icon.svg")
    page.evaluate("localStorage.clear()")
    page.goto(address + query)
    page.wait_for_selector("body[data-engine=ready]")
    yield page
    assert_own_host_only(page, address)
    page.close()


@pytest.fixture(params=list(HOSTING.values())[:2], ids=list(HOSTING)[:2])
def page(request: pytest.FixtureRequest, visitor: BrowserContext, serve: Callable[[bool], str]) -> Iterator[Page]:
    """The page, live sound enhanced in one of two ways."""
    isolation, thread = request.param
    with visit(visitor, serve(isolation), f"?thread={thread}") as page:
        assert page.evaluate("crossOriginIsolated") is isolation
        yield page


@pytest.fixture(scope="session")
def screenshot() -> Callable[[Page, str], None]:
    """Keep a picture under dist/screenshots."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    return lambda page, name: page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True) and None


AXE = ("axe-core", "4.14.1", "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745")


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    return (unpack(*AXE, tmp_path_factory.mktemp("npm")) / "package" / "axe.min.js").read_text()


_THREE_OF_A_KIND = """() => {
  for (const parent of document.querySelectorAll("main, main *")) {
    const seen = {};
    for (const child of [...parent.children]) {
      const kind = `${child.tagName} ${child.className}`;
      if ((seen[kind] = (seen[kind] ?? 0) + 1) > 3) child.remove();
    }
  }
}"""


def violations(page: Page, axe: str, *, repetitive: bool = False) -> list[str]:
    """In light; and in dark, where the colours are all that differs.

    A repetitive page has no more than three of a kind side by side when its colours are looked at, which takes long:
    the page is left so.
    """
    page.evaluate(axe)
    contrast = "{ runOnly: ['color-contrast'] }"
    looks = [("light", "{}"), ("dark", contrast)]
    if repetitive:
        looks = [
            ("light", "{ rules: { 'color-contrast': { enabled: false } } }"),
            ("light", contrast),
            ("dark", contrast),
        ]
    found = []
    for scheme, rules in looks:
        page.emulate_media(color_scheme=scheme)
        if repetitive and rules == contrast:
            page.evaluate(_THREE_OF_A_KIND)
        violations = page.evaluate(f"axe.run({rules})")["violations"]
        found += [f"{scheme}: {v['impact']} {v['id']}: {node['html'][:120]}" for v in violations for node in v["nodes"]]
    return found
