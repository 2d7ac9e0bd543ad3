"""Another model, or another version of one, in the middle of a call."""

import hashlib
import itertools
import json
import os
import shutil
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from pyenhance import load_model
from pyenhance.model import make_diff
from pyenhance.model.diff import weights_bytes

from ..conftest import ROOT
from ..unit.test_diff import changed
from . import tap
from .conftest import ready_page, until, watched

sys.path.insert(0, str(ROOT / "wasm"))
import make_site
from serve import make_server

pytestmark = pytest.mark.browser

SAME = "pyenhance.session === window.before && pyenhance.session.track.readyState === 'live'"


def _call(page: Page) -> None:
    """Begin one, and listen to it once its sound is enhanced."""
    page.click("#start")
    page.wait_for_selector("#ab:not([disabled])")
    page.evaluate("() => { window.before = pyenhance.session; }")
    until(page, "pyenhance.session.node.stats().hops > 100")
    tap.start(page)
    time.sleep(1)
    tap.collect(page)


def _unbroken(heard: np.ndarray, enhanced: np.ndarray) -> None:
    """Sound all along, without a click: no sample jumps further than the untouched sound's do.

    A machine that stands still for a while may lose some of what the microphone hears: that is silent, no more.
    """
    settled = slice(9600, None)
    assert np.abs(np.diff(enhanced[settled])).max() <= 1.2 * np.abs(np.diff(heard)).max()
    assert _longest_silence(enhanced[settled]) <= max(4800, _longest_silence(heard))


def _longest_silence(x: np.ndarray) -> int:
    """Samples in a row that are 0."""
    sounds = np.flatnonzero(np.concatenate(([1], x, [1])))
    return int(np.diff(sounds).max()) - 1


@pytest.mark.live
def test_another_model_in_a_call(page: Page) -> None:
    """The microphone goes on, and so does the sound; the delay is the new model's."""
    _call(page)
    for model in ("low-delay", "tiny", "default"):
        latency_ms = load_model(model, "numpy").signal.latency_samples / 48
        page.select_option("#model", model)
        page.wait_for_selector(f"#status:has-text('{model}')")
        until(page, "(ms) => pyenhance.session.node.stats().latency_algorithm_ms === ms", latency_ms)
        assert page.evaluate("pyenhance.session.node.stats().model") == model
        time.sleep(1)
        heard, enhanced = tap.collect(page)
        _unbroken(heard, enhanced)
        assert page.evaluate(SAME)
    assert page.evaluate("pyenhance.engine.enhance([new Float32Array(4800)]).then(([y]) => y.length)") == 4800
    page.select_option("#model", "")
    page.evaluate("pyenhance.session.node.dispatchEvent(new Event('overload'))")
    page.wait_for_selector("#status:has-text('too slow for the larger model')")
    assert page.evaluate("pyenhance.engine.model") == "tiny"
    page.evaluate("pyenhance.session.node.dispatchEvent(new Event('overload'))")
    page.wait_for_selector("#status:has-text('untouched sound')")
    page.click("#start")


@pytest.mark.live
def test_a_weights_file_in_a_call(page: Page) -> None:
    """As bytes: the file of another model is that model; what is none changes nothing."""
    _call(page)
    change = """async (name) => {
      const file = await fetch(`engine/models/${name}.safetensors`);
      const facts = await pyenhance.engine.setModel(new Uint8Array(await file.arrayBuffer()));
      return [facts.model, facts.latency_samples, facts.kernel];
    }"""
    model, latency, kernel = page.evaluate(change, "low-delay")
    assert model.startswith("weights-") and latency == 480 and kernel in ("simd", "relaxed")
    until(page, "pyenhance.session.node.stats().latency_algorithm_ms === 10")
    for wrong, told in (("new Uint8Array(100)", "header"), ("'no-such'", "accepted: default"), ("7", "model is 7")):
        message = page.evaluate(f"pyenhance.engine.setModel({wrong}).catch(({{ message }}) => message)")
        assert told in message
    assert page.evaluate("pyenhance.engine.model") == model
    _unbroken(*tap.collect(page))
    assert page.evaluate(SAME)
    page.evaluate("pyenhance.session.node.dispatchEvent(new Event('overload'))")  # on a page that chooses by itself
    page.wait_for_selector("#status:has-text('untouched sound')")
    assert page.evaluate("pyenhance.engine.model") == model
    page.click("#start")


@pytest.mark.live
def test_numpy_alone_changes_too(page: Page) -> None:
    """A stream that Python enhances goes on with another model by `Enhancer.switch`."""
    page.evaluate("""async () => {
      const { Engine, createDenoiser } = pyenhance;
      const engine = new Engine({ model: "tiny", kernel: "numpy" });
      const context = new AudioContext({ sampleRate: 48000 });
      const node = await createDenoiser(context, { engine });
      const source = new OscillatorNode(context);
      source.connect(node).connect(new GainNode(context, { gain: 0 })).connect(context.destination);
      source.start();
      await node.ready;
      window.slow = { engine, context, node };
    }""")
    until(page, "slow.node.stats().hops > 20")
    facts = page.evaluate("slow.engine.setModel('low-delay')")
    assert (facts["kernel"], facts["latency_samples"]) == ("numpy", 480)
    until(page, "slow.node.stats().latency_algorithm_ms === 10 && slow.node.stats().state === 'running'")
    page.evaluate("slow.node.dispose(), slow.engine.dispose(), slow.context.close()")


NEWEST = weights_bytes("default")
OLDER = changed(NEWEST, 0.004, seed=1)
OLDEST = changed(OLDER, 0.004, seed=2)
DIFFS = [make_diff(OLDEST, OLDER), make_diff(OLDER, NEWEST)]
LISTEN = """() => pyenhance.engine.addEventListener("update", ({ update, error }) => {
  window.updated = update ?? error.message;
})"""


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Sites:
    """One address whose site may be another one from one visit to the next; what it sends is counted."""

    def __init__(self, folder: Path, site: Path) -> None:
        self.folder, self.built, self.site = folder, site, site
        self.sent: dict[str, int] = {}
        self.server = tap.offer(make_server(site, 0, quiet=True))
        self.address = f"http://127.0.0.1:{self.server.server_port}/"
        sites, handler = self, self.server.RequestHandlerClass.func

        class Counting(handler):
            def translate_path(self, path: str) -> str:
                self.directory = str(sites.site)  # connections live longer than a visit
                return super().translate_path(path)

            def copyfile(self, source, outputfile) -> None:
                data = source.read()
                sites.sent[self.path] = sites.sent.get(self.path, 0) + len(data)
                outputfile.write(data)

        self.server.RequestHandlerClass = partial(Counting, directory=str(site))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def make(self, name: str, weights: bytes, diffs: list[bytes]) -> Path:
        """The built site with such a default model and diffs to it."""
        made = self.folder / name
        shutil.copytree(self.built, made)  # with the files' times: browsers ask by them
        about = json.loads((made / "engine" / "manifest.json").read_text())
        models = {model: weights_bytes(model) for model in about["models"]} | {"default": weights}
        about["models"] = make_site.write_models(made / "engine", models, {"default": diffs}, {})
        for derived in ("build", "files"):
            about.pop(derived)
        (made / "engine" / "manifest.json").unlink()
        (made / "manifest.json").unlink()
        (made / "sw.js").unlink()
        make_site.seal_engine(made / "engine", about)
        make_site.seal(made)
        return made

    def offer(self, site: Path) -> None:
        self.site = site
        self.sent.clear()


@pytest.fixture
def sites(tmp_path: Path, site: Path) -> Iterator[Sites]:
    sites = Sites(tmp_path, site)
    yield sites
    sites.server.shutdown()
    sites.server.server_close()


@pytest.fixture
def profile(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    yield context
    context.close()


def _updated(page: Page) -> dict | str:
    """What came of the update that the engine makes by itself."""
    page.evaluate(LISTEN)
    return until(page, "window.updated")


def _version(page: Page) -> str:
    return page.evaluate("pyenhance.engine.liveFacts.sha256")


def _first_visit(sites: Sites, profile: BrowserContext, weights: bytes, diffs: list[bytes]) -> None:
    """After it the profile has such a model, as a visit of a while ago left it."""
    sites.offer(sites.make("then", weights, diffs))
    page = ready_page(profile, sites.address)
    assert _version(page) == _sum(weights)
    page.wait_for_selector("#offline:not([hidden])")
    assert "/engine/models/default.safetensors" in sites.sent
    page.close()


def test_a_returning_visitor_loads_the_diffs_alone(
    sites: Sites, profile: BrowserContext, screenshot: Callable[[Page, str], None]
) -> None:
    """During a call, without a click; the next visit begins with the newest version, also without a network."""
    _first_visit(sites, profile, OLDEST, [])
    sites.offer(sites.make("now", NEWEST, DIFFS))
    page = watched(profile)
    page.goto(sites.address)
    until(page, "window.pyenhance?.engine.liveFacts !== undefined")
    assert _version(page) == _sum(OLDEST)
    update = _updated(page)
    assert update == {"from": _sum(OLDEST), "to": _sum(NEWEST), "bytes": sum(map(len, DIFFS)), "verified": True}
    page.wait_for_selector("body[data-engine=ready]")
    until(
        page, "navigator.serviceWorker.getRegistration().then((it) => Boolean(it.waiting))"
    )  # it has loaded all it needs
    models = {path: size for path, size in sites.sent.items() if "/models/" in path}
    assert sorted(path.rpartition(".")[2] for path in models) == ["diff", "diff", "json"]
    assert sum(sites.sent.values()) - sum(map(len, DIFFS)) < 31_000, sites.sent
    assert _version(page) == _sum(NEWEST)
    whole = "pyenhance.engine.update()"
    assert page.evaluate(whole) == {"from": _sum(NEWEST), "to": _sum(NEWEST), "bytes": 0, "verified": True}
    page.click("#version summary")
    for told in (_sum(NEWEST)[:8], f"{sum(map(len, DIFFS)) / 1000:.1f} kB", "may replace the version before"):
        page.wait_for_selector(f"#version-note:has-text('{told}')")
    screenshot(page, "version")
    page.click("#undo")
    page.wait_for_selector(f"#update-note:has-text('Back from {_sum(NEWEST)[:8]}')")
    page.wait_for_selector("#version-note:has-text('newer version')")
    assert _version(page) == _sum(OLDEST)
    page.click("#update:not([disabled])")
    page.wait_for_selector("#version-note:has-text('may replace the version before')")
    assert _version(page) == _sum(NEWEST)
    page.close()
    profile.set_offline(True)
    page = ready_page(profile, sites.address)
    assert _version(page) == _sum(NEWEST)
    assert page.evaluate("pyenhance.engine.enhance([new Float32Array(4800)]).then(([y]) => y.length)") == 4800


@pytest.mark.live
def test_an_update_in_a_call_and_back(sites: Sites, profile: BrowserContext) -> None:
    """Undone, it is not taken again by itself, but when asked for."""
    _first_visit(sites, profile, OLDER, [])
    page = ready_page(profile, sites.address)
    _call(page)
    sites.offer(sites.make("now", NEWEST, DIFFS))
    update = page.evaluate("pyenhance.engine.update()")
    assert (update["from"], update["to"], update["bytes"]) == (_sum(OLDER), _sum(NEWEST), len(DIFFS[1]))
    time.sleep(1)
    _unbroken(*tap.collect(page))
    assert page.evaluate("pyenhance.engine.undo()")["to"] == _sum(OLDER) == _version(page)
    assert "no update to undo" in page.evaluate("pyenhance.engine.undo().catch(({ message }) => message)")
    time.sleep(1)
    _unbroken(*tap.collect(page))
    assert page.evaluate(SAME)
    page.close()
    page = ready_page(profile, sites.address)
    page.evaluate("pyenhance.engine.setModel('default')")  # after what the engine does by itself
    assert _version(page) == _sum(OLDER)
    assert page.evaluate("pyenhance.engine.update()")["to"] == _sum(NEWEST) == _version(page)


FAILURES = {
    "missing": "404",
    "another base": "another base, or a gap",
    "a flipped byte": "changed or cut",
    "cut": "bytes; accepted",
    "a gap": "no diff leads on",
    "a bomb": "a payload of",
}
"""What is wrong with a site, and what is told of it."""


@pytest.mark.live
def test_an_update_that_fails_leaves_the_old_version(sites: Sites, profile: BrowserContext) -> None:
    """One clear message, and the sound goes on; once the site is right again, the update is made."""
    _first_visit(sites, profile, OLDEST, [])
    now = sites.make("now", NEWEST, DIFFS)
    listed = now / "engine" / "models" / "models.json"
    right = listed.read_text()
    file = now / "engine" / json.loads(right)["default"]["diffs"][0]["file"]
    diff = file.read_bytes()
    times = itertools.count(int(time.time()), 2)

    def put(path: Path, data: bytes) -> None:
        """With a time of its own: a browser asks a server for what is newer, to the second."""
        path.write_bytes(data)
        os.utime(path, (moment := next(times), moment))

    def spoil(how: str) -> None:
        models = json.loads(right)
        entry = models["default"]["diffs"][0]
        spoilt = {
            "another base": DIFFS[1],
            "a flipped byte": diff[:300] + bytes([diff[300] ^ 4]) + diff[301:],
            "cut": diff[:-9],
            "a bomb": _bomb(diff),
        }.get(how, diff)
        put(file, spoilt)
        if how == "missing":
            file.unlink()
        elif how == "a gap":
            del models["default"]["diffs"][1]
        elif how != "cut":
            entry["bytes"] = len(spoilt)
        put(listed, json.dumps(models).encode())

    spoil("missing")
    sites.offer(now)
    page = watched(profile)
    page.goto(sites.address)
    until(page, "window.pyenhance?.engine.liveFacts !== undefined")
    assert FAILURES["missing"] in _updated(page)
    _call(page)
    for how, told in FAILURES.items():
        spoil(how)
        message = page.evaluate("pyenhance.engine.update().catch(({ message }) => message)")
        assert told in message and len(message) < 200, how
        assert _version(page) == _sum(OLDEST)
    time.sleep(1)
    _unbroken(*tap.collect(page))
    put(listed, right.encode())
    put(file, diff)
    assert page.evaluate("pyenhance.engine.update()")["to"] == _sum(NEWEST) == _version(page)


def _bomb(diff: bytes) -> bytes:
    """The diff with a payload that is said to be, and is, huge."""
    start = 8 + 32
    length = int.from_bytes(diff[start : start + 4], "little")
    header = json.loads(diff[start + 4 : start + 4 + length]) | {"size": 10**9}
    text = json.dumps(header).encode()
    squeeze = zlib.compressobj(9)
    payload = b"".join(squeeze.compress(bytes(10**6)) for _ in range(20)) + squeeze.flush()
    rest = len(text).to_bytes(4, "little") + text + payload
    return diff[:8] + hashlib.sha256(rest).digest() + rest
