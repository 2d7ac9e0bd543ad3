"""The page when things are missing or broken, and recordings."""

import io
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Browser, Page, Playwright

from pyenhance import enhance

from ..conftest import noisy_voice, voiced
from .conftest import ONE_WAY, assert_own_host_only, launch, make_server, ready_page, watched

pytestmark = pytest.mark.browser


@pytest.fixture
def bare(playwright: Playwright) -> Browser:
    """Chromium with no microphone at all."""
    browser = launch(playwright)
    yield browser
    browser.close()


def _usable(page: Page) -> None:
    assert page.is_enabled("#start") and page.is_enabled("#sample") and page.is_visible("#drop")


def test_microphone_denied(playwright: Playwright, serve: Callable[[bool], str]) -> None:
    browser = launch(playwright, "--use-fake-device-for-media-stream")
    page = watched(browser.new_context())
    cdp = page.context.new_cdp_session(page)
    here = cdp.send("Target.getTargetInfo")["targetInfo"]["browserContextId"]
    denied = {"permission": {"name": "microphone"}, "setting": "denied", "browserContextId": here}
    cdp.send("Browser.setPermission", denied)
    page.goto(serve(True))
    page.click("#start")
    page.wait_for_selector("#status:has-text('not allowed')")
    _usable(page)
    browser.close()


def test_microphone_absent(bare: Browser, serve: Callable[[bool], str]) -> None:
    page = watched(bare.new_context(permissions=["microphone"]))
    page.goto(serve(True))
    page.click("#start")
    page.wait_for_selector("#status:has-text('No microphone was found')")
    _usable(page)


def test_insecure_context(playwright: Playwright, serve: Callable[[bool], str], tmp_path: Path) -> None:
    browser = launch(playwright, "--host-resolver-rules=MAP insecure.test 127.0.0.1")
    page = watched(browser.new_context())
    page.goto(serve(False).replace("127.0.0.1", "insecure.test"))
    page.click("#start")
    page.wait_for_selector("#status:has-text('https')")
    _usable(page)
    page.wait_for_selector("body[data-engine=ready]")
    _enhance_file(page, tmp_path)
    browser.close()


def test_load_failure_then_retry(browser: Browser, serve: Callable[[bool], str]) -> None:
    context = browser.new_context()
    page = watched(context)
    context.route("**/python_stdlib.zip", lambda route: route.abort())
    page.goto(serve(True))
    page.wait_for_selector("body[data-engine=failed]")
    assert "could not be loaded" in page.inner_text("#status")
    _usable(page)
    context.unroute("**/python_stdlib.zip")
    page.click("#retry")
    page.wait_for_selector("body[data-engine=ready]")
    assert not page.is_visible("#retry")
    context.close()


def test_tampered_wheel_is_refused(browser: Browser, serve: Callable[[bool], str]) -> None:
    context = browser.new_context()
    page = watched(context)

    def tamper(route) -> None:
        reply = route.fetch()
        body = bytearray(reply.body())
        body[-100] ^= 1
        route.fulfill(response=reply, body=bytes(body))

    context.route("**/pyenhance-*.whl", tamper)
    page.goto(serve(True))
    page.wait_for_selector("body[data-engine=failed]")
    assert page.is_visible("#retry")
    context.close()


@pytest.mark.parametrize("name", ["engine/pyenhance.js", "engine/protocol.js", "app.js", "style.css"])
def test_tampered_page_is_refused(browser: Browser, serve: Callable[[bool], str], name: str) -> None:
    context = browser.new_context()
    page = watched(context)

    def tamper(route) -> None:
        reply = route.fetch()
        route.fulfill(response=reply, body=reply.text() + "/* more */")

    context.route(f"**/{name}", tamper)
    page.goto(serve(True))
    page.wait_for_timeout(1000)
    if name.endswith(".css"):
        assert page.evaluate("document.styleSheets.length") == 0
    else:
        assert page.evaluate("window.pyenhance === undefined")
    context.close()


def _enhance_file(page: Page, tmp_path: Path) -> None:
    x = np.stack((noisy_voice(4.0), noisy_voice(4.0, seed=9)), 1)
    path = tmp_path / "meeting <b>1.wav"
    soundfile.write(path, x, 48_000)
    page.set_input_files("#file", path)
    page.wait_for_selector("#results li a")
    assert "<b>" in page.inner_text("#results strong")  # shown as text
    assert page.get_attribute("#results a", "download") == "meeting <b>1-enhanced.wav"
    with page.expect_download() as download:
        page.click("#results a")
    y, rate = soundfile.read(download.value.path(), always_2d=True)
    assert rate == 48_000 and y.shape == x.shape
    np.testing.assert_allclose(y, np.clip(enhance(x, 48_000), -1, 1), atol=0.01)
    frames = [v[: len(v) // 960 * 960, 0].reshape(-1, 960).std(1) for v in (x, y)]
    assert np.percentile(frames[1][50:], 10) < 0.4 * np.percentile(frames[0][50:], 10)


def test_recording(page: Page, tmp_path: Path, screenshot: Callable[[Page, str], None]) -> None:
    _enhance_file(page, tmp_path)
    screenshot(page, "recording")


@ONE_WAY
def test_recording_by_the_model_of_whole_recordings(page: Page, tmp_path: Path) -> None:
    """What is asked for when a recording is dropped counts for it; the model is loaded once, with the first."""
    x = noisy_voice(4.0)
    soundfile.write(tmp_path / "clip.wav", x, 48_000, subtype="FLOAT")
    loaded: list[str] = []
    page.on("request", lambda request: loaded.append(request.url) if "/whole/" in request.url else None)
    results = []
    for count, checked in enumerate((False, True, True), 1):
        page.set_checked("#studio", checked)
        page.set_input_files("#file", tmp_path / "clip.wav")
        page.wait_for_selector(f"#results li:nth-child({count}) a")
        assert len(loaded) == int(count > 1)
        with page.expect_download() as download:
            page.click("#results li:first-child a")
        results.append(soundfile.read(download.value.path(), dtype="float32")[0])
    for y, model in zip(results, ("default", "studio", "studio"), strict=True):
        np.testing.assert_allclose(y, np.clip(enhance(x, 48_000, model=model), -1, 1), atol=0.01)
    assert np.abs(results[0] - results[1]).max() > 0.02 and loaded[0].endswith("/models/whole/studio.safetensors")


KINDS = [
    ("cd.wav", 44_100, 2, "PCM_16"),
    ("telephone.wav", 8_000, 1, "ULAW"),
    ("studio.flac", 96_000, 2, "PCM_24"),
    ("voice.ogg", 48_000, 1, "VORBIS"),
    ("voice.opus.ogg", 48_000, 1, "OPUS"),
    ("old.mp3", 44_100, 1, "MPEG_LAYER_III"),
]


@ONE_WAY
def test_kinds_of_recordings(page: Page, tmp_path: Path) -> None:
    seconds = 12.0  # longer than a piece
    sound, clean = noisy_voice(seconds, noise=0.005), voiced(seconds)
    for name, rate, channels, subtype in KINDS:
        t = np.arange(int(seconds * rate)) / rate
        x = np.interp(t, np.arange(len(sound)) / 48_000, sound)
        soundfile.write(tmp_path / name, np.stack([x] * channels, 1), rate, subtype=subtype)
    page.set_input_files("#file", [tmp_path / name for name, *_ in KINDS])
    page.wait_for_selector(f"#results li:nth-child({len(KINDS)}) a")
    for name, _, channels, _ in KINDS:
        with page.expect_download() as download:
            page.click(f"#results a[download='{name.rsplit('.', 1)[0]}-enhanced.wav']")
        y, found = soundfile.read(download.value.path(), always_2d=True)
        assert found == 48_000 and y.shape[1] == channels, name
        assert abs(len(y) - seconds * 48_000) < 0.06 * 48_000, "all of it"
        reference = clean[: len(y)]
        size = 2 * len(reference)
        correlation = np.fft.irfft(np.fft.rfft(y[: len(reference), 0], size) * np.conj(np.fft.rfft(reference, size)))
        lag = int(np.argmax(correlation))
        lag -= size * (lag > size // 2)
        assert abs(lag) < 10, (name, lag)


def test_long_recording_in_constant_memory(browser: Browser, serve: Callable[[bool], str], tmp_path: Path) -> None:
    """Five minutes, which would be 58 MB as the browser decodes them, and as much again enhanced."""
    ten_seconds = noisy_voice(10.0)
    for name, minutes in (("question", 1), ("lecture", 5)):
        with soundfile.SoundFile(tmp_path / f"{name}.wav", "w", 48_000, 1, subtype="PCM_16") as file:
            for _ in range(6 * minutes):
                file.write(ten_seconds)
    others = _renderers(browser)
    page = ready_page(browser.new_context(), serve(True))
    page.set_input_files("#file", tmp_path / "question.wav")
    page.wait_for_selector("#results li a")
    renderer = max(_renderers(browser) - others, key=_peak_bytes)
    before = _peak_bytes(renderer)
    page.set_input_files("#file", tmp_path / "lecture.wav")
    page.wait_for_selector("#results li:nth-child(2) a")
    assert page.get_attribute("#results li:first-child a", "download") == "lecture-enhanced.wav"
    assert _peak_bytes(renderer) - before < 80e6, "decoded whole it would be 115 MB"
    with page.expect_download() as download:
        page.click("#results li:first-child a")
    assert soundfile.info(download.value.path()).frames == 300 * 48_000
    page.context.close()


@ONE_WAY
def test_cancelled_recording(page: Page, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "lecture.wav", np.tile(noisy_voice(10.0), 30), 48_000)
    page.set_input_files("#file", tmp_path / "lecture.wav")
    page.wait_for_selector("#file-status:has-text('Enhancing')")
    page.click("#cancel")
    page.wait_for_selector("#file-status:has-text('lecture.wav: cancelled')")
    assert page.locator("#results li").count() == 0 and not page.is_visible("#cancel")
    _enhance_file(page, tmp_path)


def _renderers(browser: Browser) -> set[int]:
    """Processes of pages."""
    info = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    return {process["id"] for process in info if process["type"] == "renderer"}


def _peak_bytes(process: int) -> int:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


@ONE_WAY
def test_many_recordings_as_a_zip(page: Page, tmp_path: Path) -> None:
    paths = [tmp_path / "a/clip.wav", tmp_path / "b/clip.wav", tmp_path / "übung.flac"]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, noisy_voice(1.0), 48_000)
    assert not page.is_visible("#zip")
    page.set_input_files("#file", paths)
    page.wait_for_selector("#results li:nth-child(3) a")
    assert page.locator("#results canvas").count() == 6
    with page.expect_download() as download:
        page.click("#zip")
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["clip-enhanced.wav", "clip-enhanced (2).wav", "übung-enhanced.wav"]
        for name in archive.namelist():
            with archive.open(name) as file:
                assert soundfile.info(io.BytesIO(file.read())).frames == 48_000


@ONE_WAY
def test_broken_recordings(page: Page, tmp_path: Path) -> None:
    for name, data in (("no-sound.wav", b"RIFFnonsense"), ("nothing.mp3", b"")):
        path = tmp_path / name
        path.write_bytes(data)
        page.set_input_files("#file", path)
        page.wait_for_selector(f"#file-status:has-text('{name} is no sound')")
        page.wait_for_selector("#cancel", state="hidden")
        assert page.evaluate("document.getElementById('file-progress').position") >= 0, "and nothing goes on moving"
    _usable(page)


def _studio(page: Page, tmp_path: Path, count: int) -> None:
    """One more recording by the model that is loaded when it is asked for."""
    soundfile.write(tmp_path / "short.wav", noisy_voice(0.5), 48_000)
    page.check("#studio")
    page.set_input_files("#file", tmp_path / "short.wav")
    page.wait_for_selector(f"#results li:nth-child({count}) a")


def test_opens_without_a_network(browser: Browser, site: Path, tmp_path: Path) -> None:
    server = make_server(site, 0, isolation=True, quiet=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    context = browser.new_context()
    page = watched(context)
    address = f"http://127.0.0.1:{server.server_port}/"
    page.goto(address)
    page.wait_for_selector("#offline:not([hidden])")
    page.goto(address)  # the first visit is not the service worker's yet
    page.wait_for_selector("body[data-engine=ready]")
    _studio(page, tmp_path, 1)
    server.shutdown()
    server.server_close()
    for place in ("", "how.html", "?from=home"):
        page.goto(address + place)
        page.wait_for_selector("body[data-engine=ready]")
        assert page.evaluate("crossOriginIsolated")
    _studio(page, tmp_path, 1)
    assert_own_host_only(page, address)
    context.close()


def test_another_language(
    browser: Browser, serve: Callable[[bool], str], screenshot: Callable[[Page, str], None]
) -> None:
    """The browser's, and then the one that is chosen."""
    context = browser.new_context(locale="de-CH")
    page = ready_page(context, serve(True))
    assert page.get_attribute("html", "lang") == "de" and page.title() == "pyenhance: klar zu hören"
    page.wait_for_selector("#status:has-text('Bereit')")
    assert page.inner_text("#live-title") == "Mikrofon" and page.get_attribute("#progress", "aria-label") == "Lädt"
    page.click("#sample")
    page.wait_for_selector("#start:has-text('Stopp')")
    page.click("#start")
    page.wait_for_selector("#start:has-text('Start')")
    screenshot(page, "german")
    page.select_option("#language", "en")
    page.wait_for_selector("#status:has-text('Ready')")
    page.goto(serve(True) + "how.html")
    page.wait_for_selector("h1:has-text('How it works')")
    assert page.get_attribute("html", "lang") == "en" and page.input_value("#language") == "en"
    assert_own_host_only(page, serve(True))
    context.close()


@ONE_WAY
def test_looks(page: Page, screenshot: Callable[[Page, str], None]) -> None:
    for name, scheme, width, height in (
        ("light", "light", 1280, 720),
        ("dark", "dark", 1280, 720),
        ("phone", "light", 360, 740),
    ):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": height})
        page.reload()
        page.wait_for_selector("body[data-engine=ready]")
        screenshot(page, name)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name}: scrolls sideways"
