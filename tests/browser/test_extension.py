"""The extensions: microphones of other people's pages, enhanced, whatever the page's policy says."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
import pytest
from playwright.sync_api import BrowserContext, Error, Page, Playwright

from ..conftest import ROOT
from ..npm import unpack
from .conftest import FLAGS, READY_MS, chromium, make_server, until, violations
from .firefox import Firefox, microphone

pytestmark = [pytest.mark.browser, pytest.mark.live]
RATE = 48_000
NOISE_DB = -30.0
"""Of the sound that the fake microphone plays, which is nothing but noise."""
STRICT = "default-src 'none'; script-src 'self'"
POLICIES = {
    "/strict.html": {"Content-Security-Policy": f"{STRICT}; require-trusted-types-for 'script'"},
    "/coep.html": {
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Embedder-Policy": "require-corp",
    },
    "/peer.html": {"Content-Security-Policy": STRICT},
    "/plain.html": {},
}
SIMPLE_PEER = ("simple-peer", "9.11.1", "d3ae5b44680d44126403d44f1ae85e7ed05604a4fd18dde0f25e70d84f33feef")
UUID = "8e5d1c9a-7f0b-4a44-9c39-1d3f6a2b7c55"
"""Of the extension in Firefox, which otherwise makes one up."""
PREFERENCES = {
    "extensions.webextensions.uuids": json.dumps({"pyenhance@pyenhance": UUID}),
    "media.navigator.permission.disabled": True,
}
_HELD = """const asked = () => fetch("../held.txt", { cache: "no-store" }).then((reply) => reply.text());
      while (await asked()) await new Promise((done) => setTimeout(done, 50));
"""
_COUNTED = """
const [live, told] = [new Set(), new BroadcastChannel("streams")];
const { showOn, end } = Stream.prototype;
Object.assign(Stream.prototype, {
  showOn() {
    if (!live.has(this)) told.postMessage(live.add(this).size);
    showOn.call(this);
  },
  end(state) {
    if (live.delete(this)) told.postMessage(live.size);
    end.call(this, state);
  },
});
"""


class Tab:
    """A page with microphones, and the extension's view of its tab."""

    def __init__(self, context: BrowserContext, options: Page, address: str) -> None:
        before = self._ids(options)
        self.page = context.new_page()
        self.refused: list[str] = []
        self.page.on("console", lambda said: "stays as it is" in said.text and self.refused.append(said.text))
        self.page.goto(address)
        (self.number,) = self._ids(options) - before
        self._options = options
        self._session = context.new_cdp_session(self.page)

    @staticmethod
    def _ids(options: Page) -> set[int]:
        return set(options.evaluate("chrome.tabs.query({}).then((tabs) => tabs.map(({ id }) => id))"))

    def run(self, expression: str) -> Any:
        """What an expression gives in the page: Playwright's own way is text that the page's policy forbids to run."""
        asked = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        answer = self._session.send("Runtime.evaluate", asked)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, condition: Callable[[], Any]) -> None:
        """Wait for it, unless the extension says that it will not be."""
        until(self.page, lambda: self.refused or condition())
        assert not self.refused, self.refused

    def level(self) -> float:
        """Of what the page hears, in dB."""
        self.until(lambda: self.run("level()") is not None)
        return self.run("level()")

    def untouched(self) -> bool:
        """Whether that is the very noise."""
        return abs(self.level() - NOISE_DB) < 1

    def enhanced(self) -> bool:
        """Whether the noise is gone from it."""
        return self.level() < NOISE_DB - 10

    def badge(self) -> str:
        """The text on the icon."""
        return self._options.evaluate(f"chrome.action.getBadgeText({{ tabId: {self.number} }})")

    def popup(self) -> Page:
        """What the icon opens, beside the page."""
        popup = self.page.context.new_page()
        popup.set_default_timeout(READY_MS)
        popup.goto(self._options.url + f"?tab={self.number}")
        return popup


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the extension whose engine does not begin while this file says anything, and tells of its streams."""
    extension = tmp_path_factory.mktemp("copy") / "extension"
    assert (ROOT / "dist" / "extension").exists(), "dist/extension is not built: ./build.sh site"
    shutil.copytree(ROOT / "dist" / "extension", extension)
    live = extension / "engine" / "live.js"
    code, begin = live.read_text(), "async load({manifest,model,remember}){"
    assert code.count(begin) == code.count("var Stream=") == 1
    live.write_text(f"{code.replace(begin, begin + _HELD)}{{{_COUNTED}}}")
    path = extension / "held.txt"
    path.write_text("")
    return path


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of pages with policies of all kinds."""
    folder = tmp_path_factory.mktemp("pages")
    for name in POLICIES:
        (folder / name[1:]).write_text('<!doctype html><title>A call</title><script src="microphone.js"></script>')
    with (folder / "peer.html").open("a") as page:
        page.write('<script src="simplepeer.min.js"></script>')
    library = unpack(*SIMPLE_PEER, tmp_path_factory.mktemp("npm")) / "package" / "simplepeer.min.js"
    shutil.copyfile(library, folder / library.name)
    shutil.copyfile(Path(__file__).with_name("microphone.js"), folder / "microphone.js")
    server = make_server(folder, 0, isolation=False, quiet=True)
    plain = server.RequestHandlerClass  # a partial of the handler, with its folder

    class WithPolicies(plain.func):
        def end_headers(self) -> None:
            for name, value in POLICIES.get(self.path, {}).items():
                self.send_header(name, value)
            super().end_headers()

    server.RequestHandlerClass = partial(WithPolicies, **plain.keywords)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def context(
    playwright: Playwright, held: Path, host: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BrowserContext]:
    """Chromium with the extension and a microphone that hears noise; its network is watched."""
    import soundfile

    folder = tmp_path_factory.mktemp("browser")
    noise = np.random.default_rng(0).normal(size=10 * RATE) * 10 ** (NOISE_DB / 20)
    soundfile.write(folder / "noise.wav", noise, RATE, subtype="PCM_16")
    log = folder / "net.json"
    context = playwright.chromium.launch_persistent_context(
        folder / "profile",
        executable_path=chromium(),
        timeout=READY_MS,
        headless=False,  # as Playwright calls it: without extensions
        args=[
            *(flag for flag in FLAGS if "autoplay" not in flag),  # as browsers are
            "--headless=new",
            f"--disable-extensions-except={held.parent}",
            f"--load-extension={held.parent}",
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
            f"--use-file-for-fake-audio-capture={folder / 'noise.wav'}",
            f"--log-net-log={log}",
        ],
    )
    yield context
    context.close()
    assert_own_host_only(log, host)


def assert_own_host_only(log: Path, host: str) -> None:
    """No page and no part of the extension has asked for anything elsewhere: so says the browser's log of requests."""
    entries = json.loads(log.read_text())["events"]
    started = [entry["params"] for entry in entries if "initiator" in entry.get("params", {})]
    asked = [entry["url"] for entry in started if entry["initiator"] != "not an origin"]  # the browser itself
    foreign = [url for url in asked if urlparse(url).netloc != urlparse(host).netloc]
    assert asked and not foreign, foreign


@pytest.fixture(scope="module")
def options(context: BrowserContext) -> Page:
    """The extension's own page, in a tab."""
    worker = (
        context.service_workers[0]
        if context.service_workers
        else context.wait_for_event("serviceworker", timeout=READY_MS)
    )
    page = context.new_page()
    page.set_default_timeout(READY_MS)
    page.goto(worker.url.replace("background.js", "popup.html"))
    page.evaluate("void (new BroadcastChannel('streams').onmessage = ({ data }) => (globalThis.streams = data))")
    return page


@pytest.fixture
def visit(context: BrowserContext, options: Page, host: str) -> Iterator[Callable[[str], Tab]]:
    """Open one of the pages, in a tab of its own."""
    tabs: list[Tab] = []

    def open_tab(name: str) -> Tab:
        tabs.append(Tab(context, options, f"{host}{name}.html"))
        return tabs[-1]

    yield open_tab
    for tab in tabs:
        tab.page.close()
    options.evaluate("chrome.storage.local.clear()")


def test_extension_strict_page(visit: Callable[[str], Tab]) -> None:
    """Under a policy that allows the page nothing but its own script."""
    tab = visit("strict")
    tab.run("open()")
    tab.until(tab.enhanced)
    tab.until(lambda: tab.badge() == "on")
    assert tab.run("document.documentElement.children.length") == 2, "nothing of ours stays in the page"


def test_extension_coep_page(visit: Callable[[str], Tab]) -> None:
    """And where the page may share memory, which the engine may not."""
    tab = visit("coep")
    assert tab.run("crossOriginIsolated")
    tab.run("open()")
    tab.until(tab.enhanced)


def test_extension_before_ready(visit: Callable[[str], Tab], held: Path) -> None:
    """Untouched sound at once, enhanced when the engine is there."""
    held.write_text("wait")
    try:
        tab = visit("strict")
        tab.run("open()")
        tab.until(lambda: tab.run("seconds()") > 3)
        assert tab.untouched() and tab.badge() == ""
        popup = tab.popup()
        popup.wait_for_selector("#status:has-text('The enhancer is starting')")
    finally:
        held.write_text("")
    tab.until(tab.enhanced)
    popup.wait_for_selector("#status:has-text('Enhanced by default')")
    popup.close()


def test_extension_off_switch(visit: Callable[[str], Tab]) -> None:
    """Off for the site, then for all: the sound that is heard, and the microphones that are asked for from then on."""
    tab = visit("plain")
    tab.run("open()")
    tab.until(tab.enhanced)
    popup = tab.popup()
    for switch, says in (("#site", "Off"), ("#on", "Off")):
        popup.click(switch)
        tab.until(tab.untouched)
        tab.until(lambda: tab.badge() == "")
        popup.wait_for_selector(f"#status:has-text('{says}')")
        tab.run("globalThis.first = globalThis.level, open(true)")
        assert tab.run("Object.getPrototypeOf(track) === MediaStreamTrack.prototype")
        assert tab.run("track.getSettings().noiseSuppression") is True
        tab.run("track.stop(), globalThis.level = first")
        popup.click(switch)
        tab.until(tab.enhanced)
        tab.until(lambda: tab.badge() == "on")
    popup.close()


def test_extension_strength_and_model(visit: Callable[[str], Tab]) -> None:
    """Both in the middle of the sound, from the popup."""
    tab = visit("strict")
    tab.run("open()")
    tab.until(tab.enhanced)
    popup = tab.popup()
    popup.locator("#strength").fill("6")
    tab.until(lambda: abs(tab.level() - (NOISE_DB - 6)) < 1)
    popup.select_option("#model", "tiny")
    popup.wait_for_selector("#status:has-text('Enhanced by tiny')")
    popup.locator("#strength").fill("42")
    tab.until(tab.enhanced)
    assert popup.locator("#meter-in").evaluate("(meter) => meter.value") > -35
    popup.close()


def test_extension_stop_frees_the_device(visit: Callable[[str], Tab]) -> None:
    """The browser's own track ends with the last of those that the page has; the graph, and the badge, go."""
    tab = visit("strict")
    tab.run("""(() => {
      const { stop } = MediaStreamTrack.prototype;
      globalThis.ended = [];
      MediaStreamTrack.prototype.stop = function () {
        stop.call(this);
        ended.push(this);
      };
    })()""")
    tab.run("open()")
    tab.until(lambda: tab.badge() == "on")
    tab.run("globalThis.copy = stream.clone(), track.stop()")
    states = "ended.map(({ label, readyState }) => [label, readyState])"
    label = tab.run("track.label")
    assert label.startswith("Fake") and tab.run("track.readyState") == "ended"
    assert tab.run("ended.length") == 1 and tab.run("copy.getAudioTracks()[0].readyState") == "live"
    tab.run("copy.getAudioTracks()[0].stop()")
    # The clone, and the microphone itself.
    assert tab.run(states)[1:] == [[label, "ended"], [label, "ended"]]
    assert tab.run("Object.getPrototypeOf(ended[2]) === MediaStreamTrack.prototype")
    tab.until(lambda: tab.badge() == "")


def test_extension_service_worker_asleep(context: BrowserContext, options: Page, visit: Callable[[str], Tab]) -> None:
    """Browsers stop it after half a minute of rest: the engine and the badge are reached all the same.

    The badge is not that of a page that crashed in the same tab before.
    """
    session = context.new_cdp_session(options)
    session.send("ServiceWorker.enable")
    session.send("ServiceWorker.stopAllWorkers")
    tab = visit("strict")
    options.evaluate(f"chrome.storage.session.set({{ {tab.number}: {{ crashed: 1 }} }})")
    tab.run("open()")
    tab.until(tab.enhanced)
    tab.until(lambda: tab.badge() == "on")
    tab.run("track.stop()")
    tab.until(lambda: tab.badge() == "")


def test_extension_crashed_tab(options: Page, visit: Callable[[str], Tab]) -> None:
    """It cannot say that it goes: the engine drops its stream all the same."""
    tab = visit("strict")
    tab.run("open()")
    tab.until(tab.enhanced)
    until(options, "globalThis.streams === 1")
    with tab.page.expect_event("crash"), suppress(Error):
        tab.page.goto("chrome://crash")
    until(options, "globalThis.streams === 0")


def test_extension_far_end_cleaner(visit: Callable[[str], Tab]) -> None:
    """A call: what arrives at its far end."""
    tab = visit("strict")
    tab.run("open()")
    tab.run("call()")
    tab.until(tab.enhanced)
    popup = tab.popup()
    popup.click("#site")
    tab.until(lambda: tab.level() > NOISE_DB - 3)
    popup.close()


def test_extension_in_a_call_of_simple_peer(visit: Callable[[str], Tab]) -> None:
    """Two pages and the library of a call between them: what the far one hears."""
    near, far = visit("peer"), visit("peer")
    near.run("open()")
    answer = far.run(f"answer({near.run('begin()')})")
    near.run(f"peer.signal({answer})")
    far.page.mouse.click(9, 9)  # else its sound may not begin
    far.run("hear()")
    near.until(far.enhanced)
    popup = near.popup()
    popup.click("#site")
    near.until(lambda: far.level() > NOISE_DB - 3)
    popup.close()


def test_extension_keeps_what_the_page_asks_for(visit: Callable[[str], Tab]) -> None:
    """The constraints of the microphone, later ones too; and what it says of itself."""
    tab = visit("strict")
    tab.run("open({ autoGainControl: false, echoCancellation: true, noiseSuppression: true })")
    settings = "(({ autoGainControl: g, echoCancellation: e, noiseSuppression: n }) => [g, e, n])(track.getSettings())"
    assert tab.run(settings) == [False, True, False]
    tab.run("track.applyConstraints({ autoGainControl: false, channelCount: 1 })")
    assert tab.run("track.getConstraints()") == {"autoGainControl": False, "channelCount": 1}
    devices = "navigator.mediaDevices.enumerateDevices()"
    assert tab.run(f"{devices}.then((all) => all.some(({{ deviceId }}) => deviceId === track.getSettings().deviceId))")
    assert tab.run("track.label").startswith("Fake")
    tab.until(lambda: tab.run("track.getSettings().latency") >= 0.04)  # once it is known
    assert tab.run("stream.getTracks().length") == 1
    exact = "{ audio: { deviceId: { exact: 'none' } } }"
    assert (
        tab.run(f"navigator.mediaDevices.getUserMedia({exact}).catch(({{ name }}) => name)") == "OverconstrainedError"
    )


def test_extension_leaves_all_else_alone(visit: Callable[[str], Tab]) -> None:
    """A page that asks for video alone, or for nothing; no engine is opened for it."""
    tab = visit("strict")
    popup = tab.popup()
    popup.evaluate("chrome.offscreen.hasDocument().then((has) => has && chrome.offscreen.closeDocument())")
    tab.run("navigator.mediaDevices.getUserMedia({ video: true }).then((s) => (globalThis.track = s.getTracks()[0]))")
    assert tab.run("[track.kind, Object.getPrototypeOf(track) === MediaStreamTrack.prototype]") == ["video", True]
    assert tab.run("navigator.mediaDevices.getUserMedia({}).catch(({ name }) => name)") == "TypeError"
    assert tab.run("navigator.mediaDevices.getUserMedia().catch(({ name }) => name)") == "TypeError"
    assert popup.evaluate("chrome.offscreen.hasDocument()") is False
    # And one that is opened again serves those who come then.
    tab.run("open()")
    tab.until(tab.enhanced)
    popup.close()


def test_extension_frames_and_calls_of_old(visit: Callable[[str], Tab]) -> None:
    """A frame without an address, which asks in the way of old; beside it the page itself, with sound and picture."""
    tab = visit("plain")
    tab.run("""(async () => {
      const frame = document.createElement("iframe");
      document.body.append(frame);
      const { navigator: theirs } = frame.contentWindow;
      const old = new Promise((done, failed) => theirs.webkitGetUserMedia({ audio: AUDIO }, done, failed));
      globalThis.both = await navigator.mediaDevices.getUserMedia({ audio: AUDIO, video: true });
      globalThis.old = await old;
    })()""")
    kinds = "both.getTracks().map(({ kind }) => kind).sort().join()"
    assert tab.run(kinds) == "audio,video" and tab.run("both.getVideoTracks()[0].readyState") == "live"
    for stream in ("old", "both"):
        tab.run(f"listenTo({stream})")
        tab.until(tab.enhanced)
    popup = tab.popup()
    popup.wait_for_selector("#status:has-text('2 microphones')")
    popup.close()


def test_extension_in_pictures(visit: Callable[[str], Tab], screenshot: Callable[[Page, str], None], axe: str) -> None:
    """The popup while a microphone is enhanced, and the options, in light and dark; axe-core finds nothing in them."""
    tab = visit("plain")
    tab.run("open()")
    popup = tab.popup()
    popup.set_viewport_size({"width": 384, "height": 480})
    popup.wait_for_selector("#status:has-text('Enhanced by')")
    popup.wait_for_selector("#site-row:not([hidden])")
    for scheme in ("light", "dark"):
        popup.emulate_media(color_scheme=scheme)
        screenshot(popup, f"extension-popup-{scheme}")
    assert violations(popup, axe) == []
    popup.click("#site")
    popup.wait_for_selector("#sites button")
    popup.set_viewport_size({"width": 900, "height": 640})
    for scheme in ("light", "dark"):
        popup.emulate_media(color_scheme=scheme)
        screenshot(popup, f"extension-options-{scheme}")
    assert violations(popup, axe) == []
    popup.click("#sites button")
    popup.wait_for_selector("#sites", state="hidden")
    popup.close()


@pytest.fixture
def fox(tmp_path: Path) -> Iterator[Firefox]:
    """Debian's Firefox with its extension and a microphone that hears noise."""
    for program in ("firefox-esr", "pulseaudio"):
        if not shutil.which(program):
            pytest.skip(f"no {program} here")
    noise = np.random.default_rng(0).normal(size=10 * RATE) * 10 ** (NOISE_DB / 20)
    with microphone((32767 * noise).astype("<i2").tobytes(), RATE) as environment:
        with Firefox("firefox-esr", tmp_path, PREFERENCES, environment) as browser:
            browser.install(ROOT / "dist" / "extension-firefox")
            yield browser


def test_extension_firefox(fox: Firefox, host: str) -> None:
    """In Firefox: a strict page's microphone at a chosen strength, with the extension on and off."""
    page = fox.page
    fox.open(f"moz-extension://{UUID}/popup.html")
    popup = fox.page
    fox.evaluate("chrome.storage.local.set({ strengthDb: 12 })")
    fox.page = page
    fox.goto(f"{host}strict.html")
    fox.evaluate("open()")
    fox.wait_for(f"level() !== null && Math.abs(level() + 12 - {NOISE_DB}) < 1")
    assert fox.evaluate("seconds()") < 20
    assert fox.evaluate("Object.getPrototypeOf(track) !== MediaStreamTrack.prototype")
    fox.page = popup
    badges = "tabs.map(({ id: tabId }) => chrome.action.getBadgeText({ tabId }))"
    fox.wait_for(f"chrome.tabs.query({{}}).then((tabs) => Promise.all({badges})).then((texts) => texts.includes('on'))")
    fox.evaluate("document.getElementById('on').click()")
    fox.page = page
    untouched = f"level() !== null && Math.abs(level() - {NOISE_DB}) < 1"
    fox.wait_for(untouched)
    fox.evaluate("(track.stop(), open())")
    fox.wait_for(untouched)
    assert fox.evaluate("Object.getPrototypeOf(track) === MediaStreamTrack.prototype")
