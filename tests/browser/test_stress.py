"""Live sound on a busy machine or page: speech is never lost, and what was done instead is counted."""

import base64
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from playwright.sync_api import BrowserContext, Page, Route

from pyenhance import enhance
from pyenhance.model.diff import weights_bytes

from ..networks import full_alone, lean_by_chance
from . import tap
from .conftest import EVERYWHERE, HOSTING, until

pytestmark = [pytest.mark.browser, pytest.mark.live, pytest.mark.alone]
SECONDS = 6

HOP = 480
COUNTS = ("hops", "lean_hops", "hurried_hops", "dropped_hops", "underruns", "overruns")


@contextmanager
def cpu_hogs(page: Page) -> Iterator[None]:
    """Two busy processes a core."""
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


@contextmanager
def slow_page(page: Page) -> Iterator[None]:
    """The page's own thread at a twentieth of its speed, as on an old phone."""
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setCPUThrottlingRate", {"rate": 20})
    try:
        yield
    finally:
        session.send("Emulation.setCPUThrottlingRate", {"rate": 1})


@contextmanager
def other_tab(page: Page) -> Iterator[None]:
    """Another tab is in front."""
    other = page.context.new_page()
    other.goto("about:blank")
    other.bring_to_front()
    try:
        yield
    finally:
        other.close()
        page.bring_to_front()


@contextmanager
def blocked_page(page: Page) -> Iterator[None]:
    """The page's own thread is busy in bursts of 200 ms."""
    page.evaluate("""() => {
      window.burst = setInterval(() => {
        const end = performance.now() + 200;
        while (performance.now() < end);
      }, 250);
    }""")
    try:
        yield
    finally:
        page.evaluate("clearInterval(burst)")


def _levels(x: np.ndarray) -> np.ndarray:
    """Of frames of 10 ms: rms."""
    return np.sqrt((x[: len(x) // HOP * HOP].reshape(-1, HOP) ** 2).mean(1))


def _lost(untouched: np.ndarray, ours: np.ndarray, delays: tuple[int, int]) -> float:
    """Share of the frames of loud speech in the untouched sound of which nothing is heard in ours.

    Speech is what the enhancer leaves of it where nothing disturbs it. Ours is late by these samples, at least and at
    most: the delay grows where the machine makes it.
    """
    speech, after = _levels(enhance(untouched, 48_000)), _levels(ours)
    first, last = delays[0] // HOP, -(-delays[1] // HOP) + 1
    loud = np.flatnonzero(speech[: len(speech) - last] > 0.3 * speech.max())
    assert len(loud) > 20, "the sample is hardly heard"
    heard = np.array([after[t + first : t + last + 1].max() for t in loud])
    return float(np.mean(heard < 0.1 * speech[loud]))


def _play(page: Page) -> None:
    """The bundled sample, in a loop, until the machine keeps up with it."""
    page.click("#sample")
    page.wait_for_selector("#ab:not([disabled])")
    until(page, "pyenhance.session.node.stats().hops > 100")


def _undisturbed(page: Page) -> dict | None:
    """What the node says after two seconds, if nothing was done instead of what it does when nothing is in its way."""
    before = page.evaluate(tap.STATS)
    page.wait_for_timeout(2000)
    after = page.evaluate(tap.STATS)
    instead = [after[name] - before[name] for name in ("hurried_hops", "dropped_hops", "underruns")]
    went_on = after["state"] == "running" and after["hops"] > before["hops"] + 100
    return after if went_on and not any(instead) else None


@pytest.mark.parametrize("stress", [cpu_hogs, slow_page, other_tab, blocked_page], ids=lambda stress: stress.__name__)
def test_speech_goes_on(page: Page, stress: Callable) -> None:
    """Beside ours the same sound is recorded untouched, in the same graph: what the machine loses is missing there."""
    _play(page)
    tap.start(page)
    first = page.evaluate(tap.STATS)
    with stress(page):
        untouched, ours = tap.record(page, SECONDS)[2:]
    more = tap.collect(page)  # what was on its way
    untouched, ours = (np.concatenate(pair) for pair in zip((untouched, ours), more, strict=True))

    now = until(page, lambda: _undisturbed(page))
    print({name: now[name] - first[name] for name in COUNTS})
    delays = tuple(round(48 * (s["latency_ms"] - s["latency_device_ms"])) for s in (first, now))
    lost = _lost(untouched, ours, delays)
    print(f"{lost:.2%} of the loud frames lost, at delays of {delays[0]} to {delays[1]} samples")
    assert lost <= 0.01, "loud speech went in and did not come out"
    # Every hop was answered: enhanced, as a lean one perhaps, or untouched.
    assert abs(0.01 * (now["hops"] - first["hops"]) - (now["time"] - first["time"])) < 0.5
    assert now["lean_hops"] + now["dropped_hops"] <= now["hops"] and now["overruns"] == first["overruns"]
    page.click("#start")


@contextmanager
def busy_worker(page: Page, ms: int) -> Iterator[None]:
    """The worker that enhances does something else for so long, two times a second."""
    (worker,) = (worker for worker in page.workers if worker.url.endswith("/live.js"))
    worker.evaluate(
        """(ms) => {
      globalThis.burst = setInterval(() => {
        const end = performance.now() + ms;
        while (performance.now() < end);
      }, 500);
    }""",
        ms,
    )
    try:
        yield
    finally:
        worker.evaluate("clearInterval(burst)")


@pytest.fixture
def in_reach(visitor: BrowserContext) -> Iterator[None]:
    """What runs hops in the worker, which is one file, may be altered there."""

    def exposed(route: Route) -> None:
        reply = route.fetch()
        route.fulfill(response=reply, body=f"{reply.text()}globalThis.Instance = Instance;")

    visitor.route("**/engine/live.js", exposed)
    yield
    visitor.unroute("**/engine/live.js")


@contextmanager
def slow_worker(page: Page, full_ms: float, lean_ms: float) -> Iterator[None]:
    """In the worker that enhances full frames take so long, and lean ones. (Chromium throttles pages alone.)"""
    (worker,) = (worker for worker in page.workers if worker.url.endswith("/live.js"))
    worker.evaluate(
        """([fullMs, leanMs]) => {
      const { run } = Instance.prototype;
      Instance.prototype.run = function (hops, ...given) {
        const begin = performance.now();
        const lean = run.call(this, hops, ...given);
        while (performance.now() < begin + fullMs * (hops - lean) + leanMs * lean);
        return lean;
      };
      globalThis.asBefore = () => (Instance.prototype.run = run);
    }""",
        [full_ms, lean_ms],
    )
    try:
        yield
    finally:
        worker.evaluate("void asBefore()")


def _change(page: Page, weights: bytes) -> str:
    """Go on with a model of one's own; its name. The page chooses no smaller one then."""
    script = """async (text) => {
      const weights = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
      return (await pyenhance.engine.setModel(weights)).model;
    }"""
    return page.evaluate(script, base64.b64encode(weights).decode())


def _done(before: dict, after: dict) -> dict[str, int]:
    return {name: after[name] - before[name] for name in COUNTS}


IN_THE_WORKER = pytest.mark.parametrize("page", [HOSTING["shared, worker"]], ids=["worker"], indirect=True)
"""On the audio thread no hop waits."""


@EVERYWHERE
def test_full_frames_by_turns(page: Page) -> None:
    """A model with lean layers that keeps up: one frame in three is full, and that is no trouble."""
    _play(page)
    model = _change(page, lean_by_chance("default"))
    until(page, lambda: _undisturbed(page))
    page.evaluate(
        "() => { window.overloads = 0; pyenhance.session.node.addEventListener('overload', () => overloads++); }"
    )
    before = page.evaluate(tap.STATS)
    after = until(page, lambda: _undisturbed(page))
    done = _done(before, after)
    print(done)
    assert abs(done["hops"] - done["lean_hops"] - done["hops"] / 3) <= 2 + done["hurried_hops"]
    assert page.evaluate("overloads") == 0 and page.evaluate("pyenhance.engine.model") == model
    page.click("#start")


@IN_THE_WORKER
def test_order_of_what_is_done_under_load(page: Page) -> None:
    """Of a model with lean layers: lean frames alone while hops wait, few or many; then untouched sound."""
    _play(page)
    model = _change(page, lean_by_chance("default"))
    before = until(page, lambda: _undisturbed(page))
    for ms, more in ((45, "hurried_hops"), (120, "hurried_hops"), (400, "dropped_hops")):
        with busy_worker(page, ms):
            until(page, f"(before) => pyenhance.session.node.stats().{more} >= before + 8", before[more])
        after = until(page, lambda: _undisturbed(page))
        print(ms, _done(before, after))
        assert (after["dropped_hops"] > before["dropped_hops"]) == (more == "dropped_hops")
        assert after["overruns"] == before["overruns"]
        before = after
    assert page.evaluate("pyenhance.engine.model") == model
    page.click("#start")


@pytest.mark.usefixtures("in_reach")
@IN_THE_WORKER
def test_lean_layers_keep_up_where_full_frames_alone_do_not(page: Page) -> None:
    """Full frames take 25 ms, lean ones 6: by turns they would take 37 of 30, but lean ones alone make up for that."""
    _play(page)
    for weights, copes in ((weights_bytes("default"), True), (full_alone("default"), False)):
        _change(page, weights)
        until(page, lambda: _undisturbed(page))
        with slow_worker(page, full_ms=25, lean_ms=6):
            page.wait_for_timeout(1000)
            before = page.evaluate(tap.STATS)
            page.wait_for_timeout(1000 * SECONDS)
            after = page.evaluate(tap.STATS)
        done = _done(before, after)
        print(done, after["state"])
        if copes:
            assert done["dropped_hops"] == done["overruns"] == 0 and after["state"] == "running"
            assert done["hops"] > 90 * SECONDS and done["hops"] > done["lean_hops"] > done["hurried_hops"] > 0
        else:
            assert done["dropped_hops"] > 0
    page.click("#start")
