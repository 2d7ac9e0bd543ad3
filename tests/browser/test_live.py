"""From the (fake) microphone to the output, in real time, in headless Chromium."""

import time
from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import Page

from . import tap

pytestmark = pytest.mark.browser
WARM_UP_SECONDS = 6
SECONDS = 21
WINDOWS = 4  # the transport's delay settles on a busy machine after its first long pauses: that is still warm-up

TROUBLES = ("underruns", "underrun_samples", "lean_hops", "dropped_hops", "overruns")


def _frame_db(x: np.ndarray) -> np.ndarray:
    frames = x[: len(x) // 960 * 960].reshape(-1, 960)
    return 10 * np.log10((frames**2).mean(1) + 1e-12)


def test_microphone_to_output(page: Page, screenshot: Callable[[Page, str], None]) -> None:
    page.click("#start")
    page.wait_for_selector("#ab:not([disabled])")
    tap.start(page)
    time.sleep(WARM_UP_SECONDS)
    for _ in range(WINDOWS):
        heap = page.evaluate("gc(), performance.memory.usedJSHeapSize")
        begin, end, heard, enhanced = tap.record(page, SECONDS)
        if all(end[name] == begin[name] for name in TROUBLES):
            break
    tap.stop(page)
    page.click("summary")
    screenshot(page, f"live-{'shared' if end['shared_memory'] else 'messages'}")

    assert end["state"] == "running" and end["shared_memory"] is page.evaluate("crossOriginIsolated")
    assert (end["hops"] - begin["hops"]) * 0.01 >= 0.95 * SECONDS
    assert len(heard) >= 0.9 * SECONDS * 48_000
    before, after = _frame_db(heard), _frame_db(enhanced)
    assert before.max() > -40, "the fake microphone was silent"
    # The quietest frames are noise alone, the loudest are speech.
    assert np.percentile(after, 8) < np.percentile(before, 8) - 10
    assert abs(np.percentile(after, 95) - np.percentile(before, 95)) < 4

    assert {name: end[name] - begin[name] for name in TROUBLES} == dict.fromkeys(TROUBLES, 0)
    assert end["us_mean"] < 5000, "mean time a hop is over half of the hop"
    assert end["heap_bytes"] == begin["heap_bytes"]
    assert page.evaluate("gc(), performance.memory.usedJSHeapSize") < heap + 8e6
    assert end["latency_algorithm_ms"] == 30

    page.click("#start")
    page.wait_for_selector("#ab[disabled]")
    assert page.evaluate("pyenhance.session") is None


def test_sample_ab_and_strength(page: Page, screenshot: Callable[[Page, str], None]) -> None:
    page.click("#sample")
    page.wait_for_selector("#ab:not([disabled])")
    assert page.inner_text("#ab").startswith("Enhancement on")
    page.keyboard.press("b")
    assert page.evaluate("pyenhance.session.node.bypass") is True
    assert page.get_attribute("#ab", "aria-pressed") == "false"
    page.keyboard.press("b")
    assert page.evaluate("pyenhance.session.node.bypass") is False
    page.fill("#strength", "12")
    assert page.evaluate("pyenhance.session.node.strengthDb") == 12
    assert page.inner_text("#strength-value") == "12 dB"
    page.fill("#strength", "42")
    assert page.evaluate("pyenhance.session.node.strengthDb") is None
    time.sleep(2)
    assert page.evaluate("pyenhance.session.node.stats().hops") > 50
    page.evaluate("pyenhance.session.node.dispatchEvent(new Event('overload'))")
    assert "too slow" in page.inner_text("#status")
    page.click("#start")  # stops
    page.wait_for_selector("#ab[disabled]")


def test_node_refuses_what_it_cannot_do(page: Page) -> None:
    script = """async (options) => {
      const context = new AudioContext({ sampleRate: options.rate });
      try {
        await pyenhance.createDenoiser(context, { engine: pyenhance.engine, strengthDb: options.strength });
        return "accepted";
      } catch (error) {
        return error.message;
      } finally {
        await context.close();
      }
    }"""
    assert "44100" in page.evaluate(script, {"rate": 44_100, "strength": None})
    assert "-1" in page.evaluate(script, {"rate": 48_000, "strength": -1})


def test_bypassed_node_is_an_exact_delay(page: Page) -> None:
    worst = page.evaluate("""async () => {
      const length = 48000;
      const context = new OfflineAudioContext(1, length, 48000);
      const buffer = context.createBuffer(1, length, 48000);
      const x = buffer.getChannelData(0);
      for (let i = 0; i < length; i++) x[i] = Math.fround(Math.sin(i * i * 1e-5) / 2);
      const source = new AudioBufferSourceNode(context, { buffer });
      const node = await pyenhance.createDenoiser(context, { engine: pyenhance.engine });
      node.bypass = true;
      source.connect(node).connect(context.destination);
      source.start();
      const y = (await context.startRendering()).getChannelData(0);
      const delay = 1440 + 960;
      let worst = 0;
      for (let i = delay; i < length; i++) worst = Math.max(worst, Math.abs(y[i] - x[i - delay]));
      for (let i = 0; i < delay; i++) worst = Math.max(worst, Math.abs(y[i]));
      node.dispose();
      return worst;
    }""")
    assert worst == 0


def test_two_streams_on_one_engine(page: Page) -> None:
    """Each is enhanced as if it were alone, and one that ends leaves the other be."""
    outcome = page.evaluate("""async () => {
      const { createDenoiser, engine } = pyenhance;
      const context = new AudioContext({ sampleRate: 48000 });
      const sink = new GainNode(context, { gain: 0 });
      sink.connect(context.destination);
      const nodes = [];
      for (const strengthDb of [null, 6]) {
        const node = await createDenoiser(context, { engine, strengthDb });
        const noise = context.createBuffer(1, 48000, 48000);
        noise.getChannelData(0).forEach((_, i, x) => { x[i] = 0.1 * (Math.random() - 0.5); });
        const source = new AudioBufferSourceNode(context, { buffer: noise, loop: true });
        source.connect(node).connect(sink);
        source.start();
        nodes.push(node);
      }
      const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
      await wait(3000);
      const both = nodes.map((node) => ({ ...node.stats(), gain: Math.max(...node.analysis().gains) }));
      nodes[0].dispose();
      const hops = nodes[1].stats().hops;
      await wait(1000);
      const after = nodes[1].stats();
      nodes[1].dispose();
      await context.close();
      return { both, went: after.hops - hops, state: after.state, streams: engine.streams.size };
    }""")
    strong, weak = outcome["both"]
    assert strong["hops"] > 100 and weak["hops"] > 100
    assert strong["peak_out"] < 0.5 * strong["peak_in"]  # all the noise may go
    assert 0.4 * weak["peak_in"] < weak["peak_out"] < 0.8 * weak["peak_in"]  # half of it stays
    assert strong["gain"] < 0.5
    assert outcome["went"] > 50 and outcome["state"] == "running" and outcome["streams"] == 0


def test_a_failing_enhancer_leaves_the_sound(page: Page) -> None:
    outcome = page.evaluate("""async () => {
      const { createDenoiser, Engine } = pyenhance;
      const context = new AudioContext({ sampleRate: 48000 });
      const engine = new Engine({ model: "no-such-model" });
      const node = await createDenoiser(context, { engine });
      const failed = new Promise((resolve) => node.addEventListener("error", ({ error }) => resolve(error.message)));
      const source = new OscillatorNode(context);
      const sink = new GainNode(context, { gain: 0 });
      source.connect(node).connect(sink).connect(context.destination);
      source.start();
      const message = await failed;
      await new Promise((resolve) => setTimeout(resolve, 500));
      const { peak_out, underruns } = node.stats();
      node.dispose();
      await context.close();
      return { message, peak_out, underruns };
    }""")
    assert "no-such-model" in outcome["message"]
    assert outcome["peak_out"] > 0.5 and outcome["underruns"] == 0


def test_dispose_leaves_no_worker(page: Page) -> None:
    before = len(page.workers)
    page.evaluate("""async () => {
      window.context = new AudioContext({ sampleRate: 48000 });
      window.own = await pyenhance.createDenoiser(window.context);
      await window.own.engine.ready;
    }""")
    assert len(page.workers) == before + 1
    page.evaluate("own.dispose(); own.dispose(); context.close()")
    deadline = time.monotonic() + 10
    while len(page.workers) > before and time.monotonic() < deadline:
        page.wait_for_timeout(100)
    assert len(page.workers) == before
