"""Enhanced microphones as tracks: in real calls, and in LiveKit's client."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from ..npm import unpack
from . import tap
from .conftest import assert_own_host_only, until, watched

pytestmark = [pytest.mark.browser, pytest.mark.live]
LIVEKIT = ("livekit-client", "2.23.0", "993eafb83afb4c566bb388108ad6469bf499d76200014c96c35fe3b39fee859d")
RATE = 48_000
FRAME = 960
LOOP_SECONDS = 8
"""Of the sample that the fake microphone repeats: so long a stretch holds all of it."""

_PREPARE = """async () => {
  Object.assign(window, await import("/engine/pyenhance.js"));
  const audio = { noiseSuppression: false, echoCancellation: false, autoGainControl: false };
  window.microphone = async () => (await navigator.mediaDevices.getUserMedia({ audio })).getAudioTracks()[0];
  window.heardOf = (track) => {
    const heard = [];
    for (const type of ["ended", "mute", "unmute"]) track.addEventListener(type, () => heard.push(type));
    return heard;
  };
  window.loudness = (track) => {
    const context = new AudioContext();
    const analyser = new AnalyserNode(context);
    new MediaStreamAudioSourceNode(context, { mediaStream: new MediaStream([track]) }).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    return () => (analyser.getFloatTimeDomainData(samples), Math.max(...samples.map(Math.abs)));
  };
}"""


@pytest.fixture(scope="module")
def page(browser: Browser, serve: Callable[[bool], str]) -> Iterator[Page]:
    """A page that has the library and a microphone; the network is watched."""
    context = browser.new_context(permissions=["microphone"])
    page = watched(context)
    address = serve(True) + "examples/track.html"
    page.goto(address)
    page.evaluate(_PREPARE)
    yield page
    assert_own_host_only(page, address)
    context.close()


def _listen(page: Page, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """So much of the two sounds that are tapped."""
    tap.collect(page)
    pieces: list[tuple[np.ndarray, np.ndarray]] = []
    until(page, lambda: pieces.append(tap.collect(page)) or sum(len(p[0]) for p in pieces) >= seconds * RATE)
    first, second = zip(*pieces, strict=True)
    return np.concatenate(first), np.concatenate(second)


def _levels_db(x: np.ndarray) -> tuple[float, float]:
    """Of the quietest frames, which are noise alone, and of the loudest, which are speech."""
    frames = x[: len(x) // FRAME * FRAME].reshape(-1, FRAME)
    low, high = np.percentile(10 * np.log10((frames**2).mean(1) + 1e-12), [8, 95])
    return float(low), float(high)


def test_denoise_track_stop_frees_the_device(page: Page) -> None:
    """Also where it was told of what it is: the settings of the microphone, and of the sound that comes out."""
    page.evaluate("""async () => {
      window.source = await microphone();
      window.given = await denoiseTrack(source);
    }""")
    told = page.evaluate("""async () => {
      const { track } = given;
      await track.applyConstraints({ autoGainControl: false });
      return { kind: track.kind, label: track.label, ...track.getSettings(), constraints: track.getConstraints() };
    }""")
    own = page.evaluate("({ label: source.label, ...source.getSettings() })")
    for name in ("label", "deviceId", "groupId", "autoGainControl", "echoCancellation", "noiseSuppression"):
        assert told[name] == own[name], name
    assert own["autoGainControl"] is False and told["constraints"] == {"autoGainControl": False}
    assert (told["kind"], told["sampleRate"], told["channelCount"]) == ("audio", RATE, 1)
    # Of default: 30 ms of look-ahead and windows, and a hop or two of transport.
    assert 0.04 <= told["latency"] - own["latency"] <= 0.2
    assert page.evaluate("source.readyState") == "live"
    page.evaluate("given.track.stop()")
    assert page.evaluate("[source.readyState, given.track.readyState]") == ["ended", "ended"]
    assert page.evaluate("given.node.context.state") == "closed"
    until(page, lambda: not page.workers)


def test_denoise_track_mute_and_enabled_follow(page: Page) -> None:
    page.evaluate("""async () => {
      window.source = await microphone();
      window.given = await denoiseTrack(source);
      window.heard = heardOf(given.track);
      window.level = loudness(given.track);
    }""")
    until(page, "level() > 0.01")
    page.evaluate("given.track.enabled = false")
    assert page.evaluate("[source.enabled, given.track.enabled]") == [False, False]
    until(page, "level() === 0")
    page.evaluate("given.track.enabled = true")
    until(page, "source.enabled && level() > 0.01")
    page.evaluate("source.enabled = false")
    assert page.evaluate("given.track.enabled") is False
    until(page, "level() < 1e-3")
    # The browser mutes a microphone where the device pauses, which a fake one does not.
    page.evaluate("source.dispatchEvent(new Event('mute')), source.dispatchEvent(new Event('unmute'))")
    assert page.evaluate("heard") == ["mute", "unmute"]
    page.evaluate("given.dispose()")
    assert page.evaluate("[source.readyState, given.track.readyState]") == ["live", "ended"]
    page.evaluate("source.stop()")
    until(page, lambda: not page.workers)


def test_denoise_track_ended_follows(page: Page) -> None:
    """A source that ends by itself: a recording that is played."""
    page.evaluate("""async () => {
      const audio = new Audio("/sample-clean.flac");
      await audio.play();
      window.source = audio.captureStream().getAudioTracks()[0];
      window.given = await denoiseTrack(source);
      window.heard = heardOf(given.track);
      window.own = heardOf(source);
    }""")
    until(page, "heard.includes('ended')")
    assert page.evaluate("heard") == page.evaluate("own")
    assert page.evaluate("[source.readyState, given.track.readyState]") == ["ended", "ended"]
    until(page, lambda: not page.workers)


def test_denoise_track_before_ready(page: Page) -> None:
    """Until the engine is there: untouched sound, or silence where that was asked for; then enhanced, without a gap."""
    page.evaluate("""async () => {
      // The engine's workers hear nothing for now.
      const { postMessage } = Worker.prototype;
      const held = [];
      Worker.prototype.postMessage = function (...message) {
        held.push(() => postMessage.apply(this, message));
      };
      window.release = () => {
        Worker.prototype.postMessage = postMessage;
        for (const post of held) post();
      };
      const context = new AudioContext({ sampleRate: 48000 });
      window.source = await microphone();
      window.engine = new Engine();
      window.tracks = [
        await denoiseTrack(source, { context, engine }),
        await denoiseTrack(source, { context, engine, untilReady: "silence" }),
      ];
      const [from, to] = tracks.map(({ track }) => new MediaStream([track]))
        .map((mediaStream) => new MediaStreamAudioSourceNode(context, { mediaStream }));
      window.pyenhance = { session: { context, source: from, node: to } };
    }""")
    tap.start(page)
    untouched, silence = _listen(page, LOOP_SECONDS)
    assert page.evaluate("engine.liveFacts === undefined")
    assert np.abs(untouched).max() > 0.01 and not silence.any()
    page.evaluate(
        """() => {
      window.isReady = false;
      release();
      Promise.all(tracks.map(({ node }) => node.ready)).then(() => (isReady = true));
    }"""
    )
    between = []
    until(page, lambda: between.append(tap.collect(page)[0]) or page.evaluate("isReady"))
    enhanced, later = _listen(page, LOOP_SECONDS)
    # Streams between graphs lose a block on a busy machine; an engine that takes over by reconnecting loses more.
    zeros = np.flatnonzero(np.concatenate([untouched[-FRAME:], *between, enhanced]))
    assert np.diff(zeros).max() < RATE // 4
    noise, speech = _levels_db(untouched)
    for sound in (enhanced, later[RATE:]):
        quieter, as_loud = _levels_db(sound)
        assert quieter < noise - 10 and abs(as_loud - speech) < 4
    tap.stop(page)
    page.evaluate("tracks.forEach(({ dispose }) => dispose()), engine.dispose(), pyenhance.session.context.close()")
    page.evaluate("source.stop()")
    until(page, lambda: not page.workers)


def test_denoise_track_far_end(browser: Browser, serve: Callable[[bool], str]) -> None:
    """The far end of a call hears the enhanced microphone, which is cleaner than the untouched one."""
    context = browser.new_context(permissions=["microphone"])
    page = watched(context)
    address = serve(True) + "examples/webrtc.html"
    page.goto(address)
    page.click("#call")
    page.wait_for_selector("#status:has-text('and enhanced')")
    page.evaluate("""() => {
      const context = new AudioContext({ sampleRate: 48000 });
      const mediaStream = document.querySelector("#far").srcObject;
      const source = new MediaStreamAudioSourceNode(context, { mediaStream });
      window.pyenhance = { session: { context, source, node: source } };
    }""")
    tap.start(page)
    until(page, "call.node.stats().hops > 100")
    enhanced, _ = _listen(page, LOOP_SECONDS)
    page.click("#toggle")
    assert page.evaluate("call.node.bypass") is True
    _listen(page, 1)  # what is under way
    untouched, _ = _listen(page, LOOP_SECONDS)
    noise, speech = _levels_db(untouched)
    quieter, as_loud = _levels_db(enhanced)
    assert speech > -40 and quieter < noise - 10 and abs(as_loud - speech) < 4
    page.click("#end")
    page.wait_for_selector("#status:has-text('Not connected')")
    until(page, lambda: not page.workers)
    assert_own_host_only(page, address)
    context.close()


def test_livekit_processor(browser: Browser, serve: Callable[[bool], str], tmp_path: Path) -> None:
    """LiveKit's own client: set, another microphone, muted, another audio context, taken off, set again, stopped."""
    client = unpack(*LIVEKIT, tmp_path) / "package" / "dist" / "livekit-client.esm.mjs"
    context = browser.new_context(permissions=["microphone"])
    page = watched(context)
    address = serve(True) + "examples/livekit.html"
    package = {"path": client, "content_type": "text/javascript"}
    page.route("**/examples/livekit-client.esm.mjs", lambda route: route.fulfill(**package))
    page.goto(address)
    page.evaluate(_PREPARE)
    page.click("#start")
    page.wait_for_selector("#status:has-text('Enhanced')")

    def now() -> dict:
        return page.evaluate("""(() => {
          const { microphone, processor } = call;
          const { processedTrack: track, node } = processor;
          const sent = microphone.mediaStreamTrack;
          const { readyState: live, enabled } = sent;
          return { processed: sent === track, live, enabled, engine: node?.engine === engine };
        })()""")

    page.evaluate("window.engine = call.processor.node.engine; window.first = call.processor.processedTrack")
    usual = {"processed": True, "live": "live", "enabled": True, "engine": True}
    assert now() == usual
    page.evaluate("call.microphone.restartTrack({ echoCancellation: false })")
    assert now() == usual and page.evaluate("first.readyState") == "ended"
    assert page.evaluate("call.processor.processedTrack.getSettings().echoCancellation") is False
    page.evaluate("call.processor.node.ready")

    page.evaluate("window.level = loudness(call.processor.processedTrack)")
    until(page, "level() > 0.01")
    page.click("#toggle[aria-pressed=false]")
    page.wait_for_selector("#toggle[aria-pressed=true]")
    assert now() == {**usual, "enabled": False}
    until(page, "level() < 1e-3")
    page.click("#toggle")
    page.wait_for_selector("#toggle[aria-pressed=false]")
    until(page, "level() > 0.01")

    page.evaluate("call.microphone.setAudioContext(window.other = new AudioContext({ sampleRate: 44100 }))")
    assert now() == usual and page.evaluate("call.processor.processedTrack.getSettings().sampleRate") == 44_100

    page.evaluate("call.microphone.stopProcessor()")
    assert now() == {**usual, "processed": False, "engine": False}, "the microphone goes on"
    until(page, lambda: not page.workers)
    page.evaluate("call.microphone.setProcessor(call.processor)")
    assert now()["processed"]
    page.evaluate("window.last = [call.microphone.mediaStreamTrack, call.microphone]")
    page.click("#end")
    until(page, lambda: not page.workers)
    assert page.evaluate("[last[0].readyState, last[1].mediaStreamTrack.readyState]") == ["ended", "ended"]
    # LiveKit itself refuses first, in its own words.
    with pytest.raises(Exception, match="Audio context needs to be set"):
        page.evaluate("""async () => {
          const { LocalAudioTrack } = await import("/examples/livekit-client.esm.mjs");
          await new LocalAudioTrack(await microphone()).setProcessor(new PyenhanceProcessor());
        }""")
    assert_own_host_only(page, address)
    context.close()
