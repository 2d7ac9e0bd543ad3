"""The second start, from what the first one kept."""

import json
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route

from pyenhance import enhance

from ..conftest import noisy_voice
from .conftest import ready_page, until, watched

pytestmark = pytest.mark.browser

# What is kept, by name of the cache, and whether it is whole.
KEPT = """async () => {
  const names = (await caches.keys()).filter((name) => name.startsWith("memory-of-pyenhance"));
  const whole = async (name) => (await (await caches.open(name)).match("/snapshot")) !== undefined;
  const there = await Promise.all(names.map(whole));
  return Object.fromEntries(names.map((name, i) => [name, there[i]]));
}"""
SPOIL = """async (spoil) => {
  const [name] = (await caches.keys()).filter((name) => name.startsWith("memory-of-pyenhance"));
  const cache = await caches.open(name);
  if (spoil === "hung") await cache.put("/tried", new Response());
  const bytes = new Uint8Array(await (await cache.match("/snapshot")).arrayBuffer());
  if (spoil === "cut") await cache.put("/snapshot", new Response(bytes.subarray(0, bytes.length >> 1)));
  if (spoil === "other") {
    const text = new TextDecoder().decode(bytes.subarray(4, 4 + new DataView(bytes.buffer).getUint32(0, true)));
    const at = text.indexOf('"tableBase":', text.indexOf("numpy/_core"));
    bytes[4 + at + 12] ^= 1;
    await cache.put("/snapshot", new Response(bytes));
  }
}"""
ENHANCE = "(samples) => pyenhance.engine.enhance([new Float32Array(samples)]).then(([y]) => Array.from(y))"


@pytest.fixture
def context(browser: Browser) -> BrowserContext:
    context = browser.new_context()
    yield context
    context.close()


def _started_again(page: Page) -> bool:
    return bool(page.evaluate("pyenhance.engine.facts.started_again"))


def _wait_until_kept(page: Page) -> None:
    until(page, lambda: list(page.evaluate(KEPT).values()) == [True])


def test_second_start_takes_up_from_the_first(context: BrowserContext, serve: Callable[[bool], str]) -> None:
    x = noisy_voice(2.0)
    results = []
    for again in (False, True):
        page = ready_page(context, serve(True))
        assert _started_again(page) is again
        _wait_until_kept(page)
        results.append(page.evaluate(ENHANCE, x.tolist()))
        if not again:
            page.close()
    assert results[0] == results[1], "the very same bits"
    assert np.std(np.array(results[0]) - enhance(x, 48_000)) < 0.05 * np.std(x)
    # The laboratory needs modules, sources and parts of numpy that were not in use when the snapshot was taken.
    page.goto(f"{serve(True)}how.html")
    page.wait_for_selector("body[data-engine=ready]")
    assert page.input_value("#code").count("def ") == 1


@pytest.fixture(scope="module")
def returning(browser: Browser, serve: Callable[[bool], str]) -> Iterator[BrowserContext]:
    """A visitor whose first visit kept a snapshot."""
    context = browser.new_context()
    page = ready_page(context, serve(True))
    _wait_until_kept(page)
    page.close()
    yield context
    context.close()


@pytest.mark.parametrize("spoil", ["cut", "other", "hung"])
def test_unusable_snapshot_is_replaced(returning: BrowserContext, serve: Callable[[bool], str], spoil: str) -> None:
    page = ready_page(returning, serve(True))
    assert _started_again(page)
    page.evaluate(SPOIL, spoil)
    page.close()
    page = ready_page(returning, serve(True))
    assert not _started_again(page)
    assert len(page.evaluate(ENHANCE, [0.0] * 4800)) == 4800
    _wait_until_kept(page)
    page.close()
    page = ready_page(returning, serve(True))
    assert _started_again(page)
    page.close()


def test_snapshot_of_another_build_goes(context: BrowserContext, serve: Callable[[bool], str]) -> None:
    page = watched(context)
    page.goto(f"{serve(True)}strings.js")
    old = "memory-of-pyenhance /engine/ 0123456789abcdef"
    page.evaluate("(name) => caches.open(name).then((cache) => cache.put('/snapshot', new Response('old')))", old)
    page = ready_page(context, serve(True))
    until(page, lambda: old not in page.evaluate(KEPT))
    _wait_until_kept(page)
    build = page.evaluate("fetch('engine/manifest.json').then((reply) => reply.json()).then(({ build }) => build)")
    assert list(page.evaluate(KEPT)) == [f"memory-of-pyenhance /engine/ {build}"]


def test_another_pyodide_starts_in_the_ordinary_way(browser: Browser, serve: Callable[[bool], str]) -> None:
    """The snapshot loader knows one version's inner parts: of another it uses no snapshot, and keeps none."""
    context = browser.new_context(service_workers="block")
    page = ready_page(context, serve(True))
    _wait_until_kept(page)

    def another(route: Route) -> None:
        reply = route.fetch()
        route.fulfill(response=reply, json=reply.json() | {"pyodide": "999.0.1"})

    page.close()
    context.route("**/engine/manifest.json", another)
    page = watched(context)
    warnings: list[str] = []
    page.on("console", lambda message: warnings.append(message.text))
    page.goto(serve(True))
    page.wait_for_selector("body[data-engine=ready]")
    assert not _started_again(page)
    assert any("this is 999.0.1" in warning for warning in warnings), warnings
    page.evaluate("caches.keys().then((names) => Promise.all(names.map((name) => caches.delete(name))))")
    page.reload()
    page.wait_for_selector("body[data-engine=ready]")
    page.wait_for_timeout(1000)
    assert page.evaluate(KEPT) == {}
    context.close()


def test_nothing_is_kept_unless_allowed(context: BrowserContext, serve: Callable[[bool], str]) -> None:
    page = watched(context)
    page.goto(f"{serve(True)}strings.js")
    code = """async (module) => {
      const { Engine } = await import(module);
      const engine = new Engine({ remember: false });
      const facts = await engine.ready;
      engine.dispose();
      return facts;
    }"""
    facts = page.evaluate(code, f"{serve(True)}engine/pyenhance.js")
    assert facts["model"] == "default" and not facts["started_again"], json.dumps(facts)
    assert page.evaluate(KEPT) == {}
