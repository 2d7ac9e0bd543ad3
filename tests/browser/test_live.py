"""From the (fake) microphone to the output, in real time, in headless Chromium."""

import base64
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Page, Playwright

from ..conftest import PATIENCE_S
from . import tap
from .conftest import EVERYWHERE, ONE_WAY, launch, until, watched

pytestmark = pytest.mark.browser
WARM_UP_SECONDS = 3
SECONDS = 8  # all of the sample that the fake microphone repeats
# The transport's delay settles on a busy machine after its first long pauses: that is still warm-up. So windows go by
# until one is without trouble.

TROUBLES = ("underruns", "underrun_samples", "hurried_hops", "dropped_hops", "overruns")


def _frame_db(x: np.ndarray) -> np.ndarray:
    frames = x[: len(x) // 960 * 960].reshape(-1, 960)
    return 10 * np.log10((frames**2).mean(1) + 1e-12)


@pytest.mark.live
@pytest.mark.alone
@EVERYWHERE
def test_microphone_to_output(page: Page, screenshot: Callable[[Page, str], None]) -> None:
    page.click("#start")
    page.wait_for_selector("#ab:not([disabled])")
    tap.start(page)
    time.sleep(WARM_UP_SECONDS)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        heap = page.evaluate("gc(), performance.memory.usedJSHeapSize")
        begin, end, heard, enhanced = tap.record(page, SECONDS)
        if all(end[name] == begin[name] for name in TROUBLES):
            break
    tap.stop(page)
    page.click("#costs summary")
    screenshot(page, f"live-{'shared' if end['shared_memory'] else 'messages'}-{end['thread']}")

    assert end["state"] == "running" and end["shared_memory"] is page.evaluate("crossOriginIsolated")
    assert (end["hops"] - begin["hops"]) * 0.01 >= 0.95 * SECONDS
    assert len(heard) >= 0.9 * SECONDS * 48_000
    before, after = _frame_db(heard), _frame_db(enhanced)
    assert before.max() > -40, "the fake microphone was silent"
    # The quietest frames are noise alone, the loudest are speech.
    assert np.percentile(after, 8) < np.percentile(before, 8) - 10
    assert abs(np.percentile(after, 95) - np.percentile(before, 95)) < 4

    assert {name: end[name] - begin[name] for name in TROUBLES} == dict.fromkeys(TROUBLES, 0)
    assert 0 < end["us_mean"] < 10_000, "a stream that keeps up takes less time for a hop than the hop lasts"
    assert end["heap_bytes"] == begin["heap_bytes"]
    until(page, "(most) => (gc(), performance.memory.usedJSHeapSize < most)", heap + 8e6)  # what was recorded goes, too
    assert end["latency_algorithm_ms"] == 30
    # On the audio thread a hop is answered when it is complete.
    least = {"audio": 10, "worker": 20}[end["thread"]]
    assert end["thread"] in page.url and end["latency_transport_ms"] >= least
    assert end["thread"] == "worker" or end["latency_transport_ms"] == least

    page.click("#start")
    page.wait_for_selector("#ab[disabled]")
    assert page.evaluate("pyenhance.session") is None


@pytest.mark.live
@pytest.mark.alone
def test_a_click_takes_as_long_as_the_page_says(
    playwright: Playwright, serve: Callable[[bool], str], tmp_path: Path
) -> None:
    """Clicks into the microphone come out of the enhanced path after the stated delay, to a render quantum."""
    clicks = np.zeros(48_000, np.float32)
    clicks[::12_000] = 0.9
    soundfile.write(tmp_path / "clicks.wav", clicks, 48_000, subtype="PCM_16")
    fake = f"--use-file-for-fake-audio-capture={tmp_path / 'clicks.wav'}"
    browser = launch(playwright, "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", fake)
    page = watched(browser.new_context())
    page.goto(serve(True))
    page.wait_for_selector("body[data-engine=ready]")
    page.click("#start")
    page.wait_for_selector("#ab:not([disabled])")
    page.evaluate("pyenhance.session.node.strengthDb = 0")  # through the enhancer, which is to take nothing away
    tap.start(page)
    time.sleep(1)
    delays = []
    deadline = time.monotonic() + PATIENCE_S
    while not delays and time.monotonic() < deadline:
        begin, end, heard, enhanced = tap.record(page, 5)
        if end["latency_transport_ms"] != begin["latency_transport_ms"]:
            continue
        size = 2 * len(heard)
        likeness = np.fft.irfft(np.fft.rfft(enhanced, size) * np.conj(np.fft.rfft(heard, size)), size)
        delays.append(int(np.argmax(likeness[:9600])) - 48 * (end["latency_ms"] - end["latency_device_ms"]))
        assert np.abs(heard).max() > 0.2, "the fake microphone was silent"
    browser.close()
    assert delays and abs(delays[0]) <= 128, f"{delays} samples off"


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
    until(page, "pyenhance.session.node.stats().hops > 50")
    page.evaluate("pyenhance.session.node.dispatchEvent(new Event('overload'))")
    page.wait_for_selector("#status:has-text('too slow')")  # and tiny goes on, once it is there
    until(page, "pyenhance.session.node.stats().model === 'tiny'")
    page.click("#start")  # stops
    page.wait_for_selector("#ab[disabled]")


@ONE_WAY
def test_hearing_oneself_is_asked_for(page: Page) -> None:
    assert not page.is_checked("#monitor")
    page.click("#start")
    page.wait_for_selector("#status:has-text('headphones')")
    assert page.evaluate("pyenhance.session.monitor.gain.value") == 0
    page.check("#monitor")
    page.wait_for_selector("#status:has-text('hear yourself')")
    assert page.evaluate("pyenhance.session.monitor.gain.value") == 1
    page.evaluate("""() => {  // a loudspeaker that howls
      const { node } = pyenhance.session;
      const stats = { ...node.stats(), peak_out: 1 };
      for (let k = 0; k < 6; k++) node.dispatchEvent(Object.assign(new Event("stats"), { stats }));
    }""")
    page.wait_for_selector("#status:has-text('feedback')")
    assert not page.is_checked("#monitor")
    assert page.evaluate("pyenhance.session.monitor.gain.value") == 0
    assert page.is_visible("#clip-out")
    page.click("#start")


@ONE_WAY
def test_devices_and_unplugging(page: Page) -> None:
    page.click("#start")
    page.wait_for_selector("#ab:not([disabled])")
    page.wait_for_selector("#device-row:not([hidden])")
    names = page.eval_on_selector_all("#device option", "options => options.map((option) => option.textContent)")
    assert len(names) >= 2 and all(names)
    page.select_option("#device", index=1)
    page.wait_for_selector("#start:has-text('Stop')")
    page.wait_for_timeout(500)
    page.wait_for_selector("#ab:not([disabled])")
    page.evaluate("pyenhance.session.source.mediaStream.getTracks()[0].dispatchEvent(new Event('ended'))")
    page.wait_for_selector("#status:has-text('unplugged')")
    assert page.evaluate("pyenhance.session") is None


@ONE_WAY
def test_record_what_is_heard(page: Page) -> None:
    page.click("#sample")
    page.wait_for_selector("#record:not([disabled])")
    begin = time.monotonic()
    page.click("#record")
    time.sleep(2)
    page.click("#record")
    pressed = time.monotonic() - begin
    page.wait_for_selector("#results li audio")
    assert page.get_attribute("#results a", "download").startswith("pyenhance-2")
    with page.expect_download() as download:
        page.click("#results a")
    text = base64.b64encode(Path(download.value.path()).read_bytes()).decode()
    script = """async (text) => {
      const data = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
      const sound = await new OfflineAudioContext(1, 1, 48000).decodeAudioData(data);
      return sound.getChannelData(0).some((value) => Math.abs(value) > 0.01) ? sound.duration : -1;
    }"""
    seconds = page.evaluate(script, text)
    assert 1 < seconds < pressed + 1
    page.click("#start")


@ONE_WAY
def test_pictures_show_the_noise_go(page: Page) -> None:
    page.click("#sample")
    page.wait_for_selector("#ab:not([disabled])")
    light = """(id) => {
      const canvas = document.getElementById(id);
      const { data } = canvas.getContext("2d").getImageData(canvas.width - 100, 0, 100, canvas.height);
      let sum = 0;
      for (let i = 1; i < data.length; i += 4) sum += data[i];
      return (4 * sum) / data.length;
    }"""

    def noise_is_seen_to_go() -> bool:
        before, after, gains = (page.evaluate(light, f"pic-{name}") for name in ("before", "after", "gains"))
        return before > after + 10 and gains > 20

    until(page, noise_is_seen_to_go)
    until(
        page, "Number(document.getElementById('noise').textContent.match(/^Noise lowered by ([0-9]+) dB$/)?.[1]) >= 10"
    )
    marks = page.locator("#axes-after span").all_inner_texts()
    assert {"100 Hz", "10 kHz", "now"} < set(marks)
    with page.expect_download() as download:
        page.click("#save-picture")
    head = Path(download.value.path()).read_bytes()[:24]
    assert head[:4] == b"\x89PNG" and int.from_bytes(head[16:20], "big") > 300 < int.from_bytes(head[20:24], "big")
    page.click("#start")
    page.wait_for_selector("#noise", state="hidden")


@ONE_WAY
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
    assert "3000.5" in page.evaluate(
        script.replace("context, {", "{ sampleRate: 3000.5 }, {"), {"strength": None, "rate": 48_000}
    )
    assert "-1" in page.evaluate(script, {"rate": 48_000, "strength": -1})


@pytest.mark.live
@pytest.mark.parametrize("rate", [16_000, 44_100, 96_000])
def test_other_sample_rates(page: Page, rate: int) -> None:
    """A node in a context that is not at 48 kHz: bypassed it is a delay, the one that it states; live it enhances."""
    outcome = page.evaluate(
        """async (rate) => {
      const { createDenoiser, engine } = pyenhance;
      const offline = new OfflineAudioContext(1, rate, rate);
      const buffer = offline.createBuffer(1, rate, rate);
      const x = buffer.getChannelData(0);
      for (let i = 0; i < rate; i++) x[i] = 0.3 * Math.sin(2000 * (i / rate) ** 2) + 0.2 * Math.sin((9000 * i) / rate);
      const source = new AudioBufferSourceNode(offline, { buffer });
      const still = await createDenoiser(offline, { engine });
      still.bypass = true;
      source.connect(still).connect(offline.destination);
      source.start();
      const y = (await offline.startRendering()).getChannelData(0);
      const stated = still.stats();
      still.dispose();

      const context = new AudioContext({ sampleRate: rate });
      const node = await createDenoiser(context, { engine });
      const noise = context.createBuffer(1, rate, rate);
      noise.getChannelData(0).forEach((_, i, z) => { z[i] = 0.2 * (Math.random() - 0.5); });
      const loop = new AudioBufferSourceNode(context, { buffer: noise, loop: true });
      const sink = new GainNode(context, { gain: 0 });
      loop.connect(node).connect(sink).connect(context.destination);
      loop.start();
      window.other = { context, node };
      return { x: [...x], y: [...y], delay_ms: stated.latency_ms - stated.latency_device_ms };
    }""",
        rate,
    )
    enhanced = """() => {
      const stats = other.node.stats();
      return stats.hops > 200 && stats.peak_out < 0.5 * stats.peak_in ? stats : null;
    }"""
    live = until(page, enhanced)
    page.evaluate("other.node.dispose(), other.context.close()")
    x, y = (np.array(outcome[name]) for name in "xy")
    delay = outcome["delay_ms"] / 1000 * rate
    n = np.arange(len(x))
    expected = np.interp(n - delay, n, x)  # as good as the interpolation: the tones are low
    settled = slice(int(delay) + rate // 20, None)
    assert np.std(y[settled] - expected[settled]) < 0.03 * np.std(x)
    assert live["state"] == "running" and live["overruns"] == 0


def test_bypassed_node_is_an_exact_delay(page: Page) -> None:
    worst = page.evaluate("""async () => {
      const length = 48000;
      const context = new OfflineAudioContext(1, length, 48000);
      const buffer = context.createBuffer(1, length, 48000);
      const x = buffer.getChannelData(0);
      for (let i = 0; i < length; i++) x[i] = Math.fround(Math.sin(i * i * 1e-5) / 2);
      const source = new AudioBufferSourceNode(context, { buffer });
      const node = await pyenhance.createDenoiser(context, { engine: pyenhance.engine, thread: "audio" });
      node.bypass = true;
      source.connect(node).connect(context.destination);
      source.start();
      const y = (await context.startRendering()).getChannelData(0);
      const delay = 1440 + 480;
      let worst = 0;
      for (let i = delay; i < length; i++) worst = Math.max(worst, Math.abs(y[i] - x[i - delay]));
      for (let i = 0; i < delay; i++) worst = Math.max(worst, Math.abs(y[i]));
      node.dispose();
      return worst;
    }""")
    assert worst == 0


@pytest.mark.live
def test_two_streams_on_one_engine(page: Page) -> None:
    """Each is enhanced as if it were alone, and one that ends leaves the other be."""
    page.evaluate("""async () => {
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
      window.both = { context, nodes };
    }""")

    def each_its_own_strength() -> bool:
        strong, weak = page.evaluate(
            "both.nodes.map((node) => ({ ...node.stats(), gain: Math.max(...node.analysis().gains) }))"
        )
        return (
            min(strong["hops"], weak["hops"]) > 100
            and strong["gain"] < 0.5
            and strong["peak_out"] < 0.5 * strong["peak_in"]  # all the noise may go
            and 0.4 * weak["peak_in"] < weak["peak_out"] < 0.8 * weak["peak_in"]  # half of it stays
        )

    until(page, each_its_own_strength)
    hops = page.evaluate("both.nodes[0].dispose(), both.nodes[1].stats().hops")
    after = until(page, "(hops) => both.nodes[1].stats().hops > hops + 50 && both.nodes[1].stats()", hops)
    assert after["state"] == "running"
    page.evaluate("both.nodes[1].dispose(), both.context.close()")
    assert page.evaluate("pyenhance.engine.streams.size") == 0


@pytest.mark.live
def test_a_failing_enhancer_leaves_the_sound(page: Page) -> None:
    message = page.evaluate("""async () => {
      const { createDenoiser, Engine } = pyenhance;
      const context = new AudioContext({ sampleRate: 48000 });
      const engine = new Engine({ model: "no-such-model" });
      const node = await createDenoiser(context, { engine });
      const failed = new Promise((resolve) => node.addEventListener("error", ({ error }) => resolve(error.message)));
      const source = new OscillatorNode(context);
      const sink = new GainNode(context, { gain: 0 });
      source.connect(node).connect(sink).connect(context.destination);
      source.start();
      window.failing = { context, node };
      return await failed;
    }""")
    assert "no-such-model" in message
    until(page, "failing.node.stats().peak_out > 0.5")
    assert page.evaluate("failing.node.stats().underruns") == 0
    page.evaluate("failing.node.dispose(), failing.context.close()")


def test_dispose_leaves_no_worker(page: Page) -> None:
    before = len(page.workers)
    page.evaluate("""async () => {
      window.context = new AudioContext({ sampleRate: 48000 });
      window.own = await pyenhance.createDenoiser(window.context);
      await window.own.engine.ready;
    }""")
    assert len(page.workers) > before
    page.evaluate("own.dispose(); own.dispose(); context.close()")
    until(page, lambda: len(page.workers) == before)
