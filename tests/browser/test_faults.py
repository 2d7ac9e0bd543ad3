"""What users of such tools report: nothing lost, nothing wrong, and everything said."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Browser, BrowserContext, Page

from ..conftest import av_file, noisy_voice
from .conftest import READY_MS, until, visit, watched

pytestmark = pytest.mark.browser

_WATCH = """() => {
  // Every context, microphone and worker that is open.
  window.open = { contexts: [], tracks: [], workers: 0 };
  window.AudioContext = class extends AudioContext {
    constructor(options) {
      super(options);
      window.open.contexts.push(this);
    }
  };
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (options) => {
    await window.unanswered;
    const stream = await ask(options);
    window.open.tracks.push(...stream.getTracks());
    return stream;
  };
}"""
_OPEN = """() => [
  open.contexts.filter(({ state }) => state !== "closed").length,
  open.tracks.filter(({ readyState }) => readyState === "live").length,
]"""


@pytest.fixture
def ready(visitor: BrowserContext, serve: Callable[[bool], str]) -> Iterator[Page]:
    """The page, its engine ready, and a list of what it opens."""
    with visit(visitor, serve(True)) as page:
        page.evaluate(_WATCH)
        yield page


def _settle(page: Page, expected: list[int]) -> None:
    """Contexts and microphones that stay open in the end."""
    page.wait_for_timeout(1500)
    assert page.evaluate(_OPEN) == expected


def test_one_session_whatever_is_pressed(ready: Page) -> None:
    for presses, microphones in (
        ("sample sample", 0),
        ("start start", 1),
        ("sample start", 1),
        ("start sample", 0),
        ("sample start sample sample", 0),
    ):
        ready.evaluate(f"for (const button of '{presses}'.split(' ')) document.getElementById(button).click()")
        _one_session(ready, microphones)
    for button, microphones in (("sample", 0), ("start", 1)):
        ready.dblclick(f"#{button}")
        _one_session(ready, microphones)
    _settle(ready, [0, 0])


def _one_session(page: Page, microphones: int) -> None:
    """One is open, and none after Stop."""
    page.wait_for_selector("#start:has-text('Stop')")
    _settle(page, [1, microphones])
    assert page.evaluate("pyenhance.engine.streams.size") == 1
    page.click("#start")
    page.wait_for_selector("#status:has-text('Stopped')")
    until(page, f"JSON.stringify(({_OPEN})()) === '[0,0]'")  # what opens again is one too many of the next
    assert page.evaluate("[pyenhance.session, pyenhance.engine.streams.size]") == [None, 0]


def test_a_question_that_is_not_answered_can_be_cancelled(ready: Page) -> None:
    page = ready
    page.evaluate("() => { window.unanswered = new Promise((resolve) => { window.answer = resolve; }); }")
    page.click("#start")
    page.wait_for_selector("#start:has-text('Cancel')")
    assert "Starting" in page.inner_text("#status") and page.is_disabled("#record")
    page.click("#start")
    page.wait_for_selector("#status:has-text('Stopped')")
    assert page.inner_text("#start") == "Start"
    page.evaluate("answer()")
    until(page, "open.tracks.length === 1")
    _settle(page, [0, 0])


def test_what_fails_releases_all(browser: Browser, serve: Callable[[bool], str]) -> None:
    context = browser.new_context()
    page = watched(context)
    page.goto(serve(True))
    page.wait_for_selector("body[data-engine=ready]", timeout=READY_MS)
    page.evaluate(_WATCH)
    # Routes do not see what a worklet asks for.
    page.evaluate("""() => {
      window.addModule = AudioWorklet.prototype.addModule;
      AudioWorklet.prototype.addModule = async () => { throw new Error("processor.js: 404"); };
    }""")
    for button in ("#start", "#start", "#sample"):
        page.evaluate("document.getElementById('status').textContent = ''")
        page.click(button)
        page.wait_for_selector("#status:has-text('wrong')")
        assert page.inner_text("#start") == "Start"
        _settle(page, [0, 0])
    page.evaluate("() => { AudioWorklet.prototype.addModule = addModule; }")
    page.click("#start")
    page.wait_for_selector("#start:has-text('Stop')")
    _settle(page, [1, 1])

    # A node on a context that is closed, or closes: no worker stays.
    workers = len(page.workers)
    script = """async () => {
      const closed = new AudioContext({ sampleRate: 48000 });
      await closed.close();
      const message = await pyenhance.createDenoiser(closed).catch((error) => error.message);
      const closing = new AudioContext({ sampleRate: 48000 });
      const node = await pyenhance.createDenoiser(closing);
      await closing.close();
      return [message, await node.ready.catch((error) => error.message)];
    }"""
    assert page.evaluate(script) == ["the context is closed; accepted: one that is not", "disposed"]
    page.wait_for_timeout(500)
    assert len(page.workers) == workers
    context.close()


@pytest.mark.live
def test_a_pause_is_said_and_over_by_itself(ready: Page) -> None:
    page = ready
    page.click("#start")
    page.wait_for_selector("#status:has-text('Listening')")
    page.evaluate("pyenhance.session.context.suspend()")
    page.wait_for_selector("#status:has-text('held up')")
    until(page, "document.getElementById('meter-in').value === -60")
    page.wait_for_selector("#status:has-text('Listening')")
    assert page.evaluate("pyenhance.session.context.state") == "running"

    mute = """(muted) => {
      const { track } = pyenhance.session;
      Object.defineProperty(track, "muted", { value: muted, configurable: true });
      track.dispatchEvent(new Event(muted ? "mute" : "unmute"));
    }"""
    page.evaluate(mute, True)
    page.wait_for_selector("#status:has-text('muted')")
    page.evaluate(mute, False)
    page.wait_for_selector("#status:has-text('Listening')")

    # Unplugged, and plugged in again.
    page.evaluate("pyenhance.session.track.dispatchEvent(new Event('ended'))")
    page.wait_for_selector("#status:has-text('unplugged')")
    _settle(page, [0, 0])
    page.evaluate("navigator.mediaDevices.dispatchEvent(new Event('devicechange'))")
    page.wait_for_selector("#status:has-text('Listening')")
    page.click("#start")
    page.wait_for_selector("#status:has-text('Stopped')")
    page.evaluate("navigator.mediaDevices.dispatchEvent(new Event('devicechange'))")
    _settle(page, [0, 0])


def test_ready_and_error_are_heard_whenever_one_listens(ready: Page) -> None:
    outcome = ready.evaluate("""async () => {
      const { createDenoiser, Engine, engine } = pyenhance;
      const context = new AudioContext({ sampleRate: 48000 });
      const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
      const node = await createDenoiser(context, { engine });
      await wait(300);
      const heard = [];
      node.addEventListener("ready", ({ type, target }) => heard.push([type, target === node]));
      await node.ready;
      await wait(100);
      const failing = new Engine({ model: "no-such-model" });
      await failing.ready.catch(() => {});
      const other = await createDenoiser(context, { engine: failing });
      await wait(300);
      other.addEventListener("error", ({ type, error }) => heard.push([type, error.message.includes("no-such-model")]));
      await other.ready.catch(({ message }) => heard.push(["ready", message.includes("no-such-model")]));
      await wait(100);
      node.dispose();
      other.dispose();
      failing.dispose();
      await context.close();
      return heard;
    }""")
    assert sorted(outcome) == [["error", True], ["ready", True], ["ready", True]]


def test_a_microphone_on_one_of_two_channels(ready: Page) -> None:
    loss_db = ready.evaluate("""async () => {
      const context = new OfflineAudioContext(1, 48000, 48000);
      const buffer = context.createBuffer(2, 48000, 48000);
      const x = buffer.getChannelData(0);
      for (let i = 0; i < 48000; i++) x[i] = Math.sin(i * i * 1e-5) / 2;
      const source = new AudioBufferSourceNode(context, { buffer });
      const node = await pyenhance.createDenoiser(context, { engine: pyenhance.engine });
      node.bypass = true;
      source.connect(node).connect(context.destination);
      source.start();
      const y = (await context.startRendering()).getChannelData(0);
      node.dispose();
      const energy = (from, z, n) => z.slice(from, from + n).reduce((sum, v) => sum + v * v, 0);
      return 10 * Math.log10(energy(0, x, 45000) / energy(2400, y, 45000));
    }""")
    assert abs(loss_db) < 0.1


def _lines(page: Page) -> list[str]:
    return page.eval_on_selector_all("#file-status p", "lines => lines.map((line) => line.textContent)")


def test_recordings_wait_for_their_turn(ready: Page, tmp_path: Path) -> None:
    page = ready
    soundfile.write(tmp_path / "long.wav", np.tile(noisy_voice(10.0), 12), 48_000)
    for name in ("one", "two"):
        soundfile.write(tmp_path / f"{name}.wav", noisy_voice(1.0), 48_000)
    soundfile.write(tmp_path / "zero.wav", np.zeros(0), 48_000)
    (tmp_path / "broken.wav").write_bytes(b"RIFFnonsense")
    (tmp_path / "text.mp3").write_bytes(b"no sound at all")
    page.set_input_files("#file", tmp_path / "long.wav")
    page.wait_for_selector("#file-status:has-text('Enhancing')")
    page.set_input_files("#file", [tmp_path / "broken.wav", tmp_path / "one.wav", tmp_path / "text.mp3"])
    page.set_input_files("#file", [tmp_path / "zero.wav", tmp_path / "two.wav"])
    assert sum("waits" in line for line in _lines(page)) >= 4
    page.wait_for_selector("#results li:nth-child(3) a", timeout=READY_MS)
    long, broken, one, text, zero, two = _lines(page)
    assert (
        long.startswith("long.wav: 120.0 s enhanced")
        and one.startswith("one.wav: 1.0 s")
        and two.startswith("two.wav: 1.0 s")
    )
    assert broken == "broken.wav is no sound that this browser can read."
    assert text == "text.mp3 is no sound that this browser can read."
    assert zero == "zero.wav holds no sound."
    assert not page.is_visible("#cancel")

    # Cancelled: what waits, too; what is dropped after that is done.
    page.set_input_files("#file", [tmp_path / "long.wav", tmp_path / "one.wav"])
    page.wait_for_selector("#file-status:has-text('Enhancing')")
    page.click("#cancel")
    page.set_input_files("#file", tmp_path / "two.wav")
    page.wait_for_selector("#results li:nth-child(4) a", timeout=READY_MS)
    assert [line.split(":")[1].strip()[:9] for line in _lines(page)[6:]] == ["cancelled", "cancelled", "1.0 s enh"]


def test_encoders_delay_is_taken_away(ready: Page, tmp_path: Path) -> None:
    """The sound comes back where it was, and as long as it was."""
    page = ready
    page.fill("#strength", "0")
    reference = noisy_voice(4.0, noise=0.05)
    kinds = {"a.mp3": 48_000, "b.mp3": 44_100, "c.m4a": 48_000, "d.mp4": 44_100, "e.ogg": 48_000, "f.opus": 48_000}
    for name, rate in kinds.items():
        x = reference
        if rate != 48_000:
            t = np.arange(4 * rate) / rate
            x = np.interp(t, np.arange(len(x)) / 48_000, x).astype(np.float32)
        path = tmp_path / name
        if path.suffix in (".m4a", ".mp4"):
            av_file(path, "aac", x, rate)
        elif path.suffix == ".opus":
            soundfile.write(path, x, rate, format="OGG", subtype="OPUS")
        else:
            soundfile.write(path, x, rate)
    page.set_input_files("#file", [tmp_path / name for name in kinds])
    page.wait_for_selector(f"#results li:nth-child({len(kinds)}) a", timeout=READY_MS)
    for name in kinds:
        with page.expect_download() as download:
            page.click(f"#results a[download='{name.split('.')[0]}-enhanced.wav']")
        y, _ = soundfile.read(download.value.path())
        assert len(y) == 192_000, name
        size = 2 * len(y)
        correlation = np.fft.irfft(np.fft.rfft(y, size) * np.conj(np.fft.rfft(reference, size)))
        lag = int(np.argmax(correlation))
        assert lag - size * (lag > size // 2) == 0, name


def test_a_recording_that_is_cut_off(ready: Page, tmp_path: Path) -> None:
    page = ready
    for subtype in ("VORBIS", "OPUS"):
        whole = tmp_path / f"{subtype}.ogg"
        soundfile.write(whole, noisy_voice(8.0, noise=0.05), 48_000, subtype=subtype)
        data = whole.read_bytes()
        (tmp_path / f"half-{subtype}.ogg").write_bytes(data[: len(data) // 2])
        page.set_input_files("#file", tmp_path / f"half-{subtype}.ogg")
        page.wait_for_selector(f"#file-status:has-text('half-{subtype}.ogg is cut off')", timeout=READY_MS)
    with page.expect_download() as download:
        page.click("#results a")
    y, _ = soundfile.read(download.value.path())
    assert 2.5 < len(y) / 48_000 < 5


@pytest.mark.live
def test_silence_costs_next_to_nothing(ready: Page) -> None:
    """After ten seconds of digital silence no hop is computed; sound that comes again is enhanced at once."""
    ready.evaluate("""async () => {
      const { createDenoiser, engine } = pyenhance;
      const context = new AudioContext({ sampleRate: 48000 });
      const node = await createDenoiser(context, { engine, thread: "worker" }); // where hops are timed
      const noise = context.createBuffer(1, 48000, 48000);
      noise.getChannelData(0).forEach((_, i, x) => { x[i] = 0.1 * (Math.random() - 0.5); });
      const source = new AudioBufferSourceNode(context, { buffer: noise, loop: true });
      const gain = new GainNode(context);
      const sink = new GainNode(context, { gain: 0 });
      source.connect(gain).connect(node).connect(sink).connect(context.destination);
      source.start();
      window.heard = { context, node, gain };
    }""")
    stats = "heard.node.stats()"
    until(ready, f"{stats}.hops > 100 && {stats}.peak_out > 0")
    ready.evaluate("() => { heard.gain.gain.value = 0; }")

    def at_rest() -> tuple[dict, dict] | None:
        """Statistics before and after two seconds in which its clock went on, and nothing else."""
        before = ready.evaluate(stats)
        ready.wait_for_timeout(2000)
        after = ready.evaluate(stats)
        rests = all(after[name] == before[name] for name in ("us_mean", "us_p50", "us_p99", "us_max"))
        return (before, after) if rests and after["hops"] - before["hops"] > 100 else None

    before, after = until(ready, at_rest)
    assert after["underruns"] == before["underruns"] and after["dropped_hops"] == before["dropped_hops"]
    assert after["peak_out"] == 0
    ready.evaluate("() => { heard.gain.gain.value = 1; }")
    # Sound is played at once; what its hops took is written down twenty times a second.
    until(ready, f"{stats}.peak_out > 0 && {stats}.us_mean !== {after['us_mean']}")
    loud = ready.evaluate(stats)
    assert loud["overruns"] == 0 and loud["state"] == "running"
    ready.evaluate("heard.context.close()")
