"""Live sound on a busy machine or page: speech is never lost, and what was done instead is counted."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from playwright.sync_api import Page

from pyenhance import enhance

from . import tap
from .conftest import until

pytestmark = [pytest.mark.browser, pytest.mark.live, pytest.mark.alone]
SECONDS = 6

HOP = 480


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


@pytest.mark.parametrize("stress", [cpu_hogs, slow_page, other_tab, blocked_page], ids=lambda stress: stress.__name__)
def test_speech_goes_on(page: Page, stress: Callable) -> None:
    """Beside ours the same sound is recorded untouched, in the same graph: what the machine loses is missing there."""
    page.click("#sample")
    page.wait_for_selector("#ab:not([disabled])")
    until(page, "pyenhance.session.node.stats().hops > 100")
    tap.start(page)
    first = page.evaluate(tap.STATS)
    with stress(page):
        untouched, ours = tap.record(page, SECONDS)[2:]
    more = tap.collect(page)  # what was on its way
    untouched, ours = (np.concatenate(pair) for pair in zip((untouched, ours), more, strict=True))

    # It comes back by itself.
    def back() -> dict | None:
        before = page.evaluate(tap.STATS)
        page.wait_for_timeout(2000)
        after = page.evaluate(tap.STATS)
        instead = [after[name] - before[name] for name in ("lean_hops", "dropped_hops", "underruns")]
        went_on = after["state"] == "running" and after["hops"] > before["hops"] + 100
        return after if went_on and not any(instead) else None

    now = until(page, back)
    print({name: now[name] - first[name] for name in ("hops", "lean_hops", "dropped_hops", "underruns", "overruns")})
    delays = tuple(round(48 * (s["latency_ms"] - s["latency_device_ms"])) for s in (first, now))
    lost = _lost(untouched, ours, delays)
    print(f"{lost:.2%} of the loud frames lost, at delays of {delays[0]} to {delays[1]} samples")
    assert lost <= 0.01, "loud speech went in and did not come out"
    # Every hop was answered: enhanced, on the lean path, or untouched.
    assert abs(0.01 * (now["hops"] - first["hops"]) - (now["time"] - first["time"])) < 0.5
    assert now["lean_hops"] + now["dropped_hops"] <= now["hops"] and now["overruns"] == first["overruns"]
    page.click("#start")
