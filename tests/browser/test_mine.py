"""The page "Make it mine": a model fitted to two recordings, kept as a profile, used in a call, exported, forgotten."""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Browser, BrowserContext, Page, expect

from pyenhance.federated.aggregate import MIN_UPDATES, aggregate
from pyenhance.federated.update import DELTA, local_epsilon
from pyenhance.model import apply_diffs, load_model
from pyenhance.model.adapt import DIFF_LIMIT_BYTES, adapt
from pyenhance.model.diff import weights_bytes
from pyenhance.model.summary import shipped_summary

from ..perf import fit_time
from ..unit.test_adapt import NOISE, RATE, VOICE, fan
from . import tap
from .conftest import assert_own_host_only, ready_page, until
from .test_update import _call, _unbroken

pytestmark = pytest.mark.browser
MODEL = "tiny"  # a fit of it takes the least time
KITCHEN = "Küche, 厨房"


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files to take: the two that are as they should be, and some that are not."""
    sounds = {
        "voice": VOICE,
        "noise": NOISE[: 10 * RATE],
        "short": VOICE[: 4 * RATE],
        "noisy": VOICE + 0.01 * fan(24, 1) / fan(24, 1).std(),
        "clipped": np.clip(6 * VOICE, -0.1, 0.1),
        "silent": np.zeros(6 * RATE),
    }
    folder = tmp_path_factory.mktemp("recordings")
    for name, sound in sounds.items():
        soundfile.write(folder / f"{name}.wav", sound, RATE, subtype="FLOAT")
    (folder / "text.wav").write_text("no sound at all")
    return {path.stem: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def diff() -> bytes:
    """What Python learns from the two."""
    return adapt(MODEL, VOICE, NOISE[: 10 * RATE]).diff


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A visitor, of whose device nothing is sent."""
    context = browser.new_context()
    sent = []
    context.on("request", lambda request: sent.append((request.method, request.post_data)))
    yield context
    assert sent and {(method, bool(body)) for method, body in sent} == {("GET", False)}
    context.close()


@pytest.fixture(scope="module")
def opened(context: BrowserContext, serve: Callable[[bool], str]) -> Iterator[Page]:
    address = serve(True) + "mine.html"
    page = ready_page(context, address)
    yield page
    assert_own_host_only(page, address)


@pytest.fixture
def mine(opened: Page) -> Page:
    """The page, with nothing kept."""
    return _anew(opened, [])


@pytest.fixture
def kitchen(opened: Page, diff: bytes) -> Page:
    """The page, with a profile that is for any microphone."""
    return _anew(opened, [{"name": KITCHEN, "model": MODEL, "diff": base64.b64encode(diff).decode()}])


def _anew(page: Page, kept: list[dict[str, str]]) -> Page:
    page.evaluate(
        """async (kept) => {
          const profiles = await mine.engine.profiles();
          for (const { name } of await profiles.list()) await profiles.forget(name);
          for (const { diff, ...about } of kept)
            await profiles.keep({ ...about, diff: Uint8Array.from(atob(diff), (c) => c.charCodeAt(0)) });
        }""",
        kept,
    )
    page.reload()
    page.wait_for_selector("body[data-engine=ready]")
    page.select_option("#model", MODEL)
    return page


def _take(page: Page, part: str, path: Path) -> None:
    page.set_input_files(f"#file-{part}", path)
    expect(page.locator(f"#note-{part}")).to_contain_text("taken")


def _list(page: Page) -> list[dict]:
    return page.evaluate("mine.engine.profiles().then((profiles) => profiles.list())")


def test_what_cannot_be_learnt_from_is_refused(mine: Page, recordings: dict[str, Path]) -> None:
    """In Python's words, with what was measured and what is accepted; nothing is shown or kept."""
    _take(mine, "noise", recordings["noise"])
    for part, name, told in (
        ("voice", "short", "s of speech; accepted: at least 8 s"),
        ("voice", "noisy", "dB above its pauses; accepted: at least 20 dB"),
        ("voice", "clipped", "of its samples; accepted: at most 0.1%"),
        ("noise", "silent", "noise: silent, -inf dBFS; accepted"),
    ):
        _take(mine, "voice", recordings["voice" if part == "noise" else name])
        if part == "noise":
            mine.click("#cancel")  # of the fit that both good ones have begun
            expect(mine.locator("#status")).to_contain_text("Cancelled")
            _take(mine, part, recordings[name])
        expect(mine.locator("#status")).to_contain_text(told)
        assert "Traceback" not in mine.inner_text("#status")
        assert mine.is_hidden("#result") and mine.is_hidden("#fit-progress")
    mine.set_input_files("#file-voice", recordings["text"])
    expect(mine.locator("#note-voice")).to_contain_text("text.wav could not be read")
    assert _list(mine) == []


def test_a_model_is_fitted_heard_and_kept(
    mine: Page, recordings: dict[str, Path], screenshot: Callable[[Page, str], None]
) -> None:
    mine.seen.clear()
    _take(mine, "voice", recordings["voice"])
    assert not [url for url in mine.seen if url.endswith(".summary")], "nobody has asked for a fit yet"
    fit_time.watch(mine)
    _take(mine, "noise", recordings["noise"])
    names, times = zip(*fit_time.stages(mine), strict=True)
    assert [*dict.fromkeys(names)] == ["read", "step", "sent back", "shown", "sounds"] and sorted(times) == [*times]
    figures = mine.inner_text("#figures")
    assert "dB lower than before" in figures and "held out" in figures and "kB" in figures
    for name in ("before", "after"):
        mine.click(f"#listen-{name}")
        assert mine.get_attribute(f"#listen-{name}", "aria-pressed") == "true"
    until(mine, "mine.player.place > 0")
    sounds = mine.evaluate("[...mine.player.tracks.values()].map(({ buffer }) => buffer.length)")
    assert len(sounds) == 3 and len(set(sounds)) == 1, "of one mix"
    mine.click("#listen-after")
    assert mine.evaluate("mine.player.heard") is None
    screenshot(mine, "mine")
    mine.fill("#name", KITCHEN)
    mine.click("#keep")
    expect(mine.locator("#profiles strong")).to_have_text([KITCHEN])
    assert mine.is_hidden("#result")
    (kept,) = _list(mine)
    assert kept["active"] and kept["fits"] and kept["model"] == MODEL and 0 < kept["bytes"] <= DIFF_LIMIT_BYTES
    assert [url.rpartition("/")[2] for url in mine.seen if url.endswith(".summary")] == [f"{MODEL}.summary"]


def test_a_profile_goes_to_a_file_and_comes_back(kitchen: Page, diff: bytes, tmp_path: Path) -> None:
    """It leads to a model in Python, too. What is not whole or for another model is not taken; what was kept stays."""
    mine = kitchen
    with mine.expect_download() as coming:
        mine.get_by_role("button", name="Export").click()
    file = tmp_path / "office.diff"
    coming.value.save_as(file)
    assert file.read_bytes() == diff
    old, new = load_model(MODEL), load_model(apply_diffs(weights_bytes(MODEL), [diff]))
    assert not np.array_equal(old.tensors["gain.weight"], new.tensors["gain.weight"])
    note = mine.locator("#profiles-note")
    for name, data, model, told in (
        ("flipped", diff[:300] + bytes([diff[300] ^ 4]) + diff[301:], MODEL, "changed or cut"),
        ("cut", diff[:-9], MODEL, "changed or cut"),
        ("none", b"", MODEL, "diff"),
        ("other", diff, "low-delay", "another base"),
    ):
        (tmp_path / f"{name}.diff").write_bytes(data)
        mine.select_option("#model", model)
        mine.set_input_files("#import", tmp_path / f"{name}.diff")
        expect(note).to_contain_text(f"{name}.diff was not taken: ")
        expect(note).to_contain_text(told)
        assert len(_list(mine)) == 1
    mine.select_option("#model", MODEL)
    mine.set_input_files("#import", file)
    expect(note).to_contain_text("Taken as “office”")
    first, second = _list(mine)
    assert {first["name"], second["name"]} == {KITCHEN, "office"}
    assert first["sha256"] == second["sha256"] and first["active"] == (first["name"] == "office") != second["active"]
    mine.get_by_role("button", name=f"Use it: {KITCHEN}").click()
    expect(mine.get_by_role("button", name="Use it: office")).to_have_attribute("aria-pressed", "false")


def test_what_was_learnt_goes_to_a_pool(kitchen: Page, tmp_path: Path) -> None:
    """From the page's button through the file to a model of three of them; the page says first what is in it."""
    files = {}
    for i in range(MIN_UPDATES):
        kitchen.get_by_role("button", name=f"Share what it learned: {KITCHEN}").click()
        expect(kitchen.locator("#share")).to_be_visible()
        facts = kitchen.locator("#share-facts")
        expect(facts).to_contain_text("No sound, no text, no name")
        expect(facts).to_contain_text(f"costs epsilon {local_epsilon(1, DELTA):.1f} (delta {DELTA:g})")
        with kitchen.expect_download() as download:
            kitchen.click("#share-save")
        assert download.value.suggested_filename == "pyenhance.update"
        download.value.save_as(tmp_path / f"{i}.update")
        files[str(i)] = (tmp_path / f"{i}.update").read_bytes()
        expect(kitchen.locator("#share")).to_be_hidden()
    assert len(set(files.values())) == MIN_UPDATES, "each has noise of its own"
    assert not any(KITCHEN.encode() in data for data in files.values())
    base = weights_bytes(MODEL)
    made = aggregate(base, files, shipped_summary(MODEL), clip=1, noise_multiplier=1)
    assert made.rejected == {} and made.weights != base


@pytest.mark.live
def test_the_profile_is_used_in_a_call(kitchen: Page, context: BrowserContext, serve: Callable[[bool], str]) -> None:
    """Chosen with its model, and left with it, without a click; forgotten, the model is as it ships."""
    page = ready_page(context, serve(True))
    page.wait_for_selector("#offline:not([hidden])")
    stored = page.evaluate("""async () => {
      const name = (await caches.keys()).find((key) => key.startsWith("pyenhance-"));
      return (await (await caches.open(name)).keys()).map(({ url }) => url);
    }""")
    assert [url for url in stored if url.endswith("mine.js")] and not [url for url in stored if "summary" in url]
    _call(page)
    for model, name in ((MODEL, KITCHEN), ("default", None), (MODEL, KITCHEN)):
        page.select_option("#model", model)
        until(page, "(name) => (pyenhance.engine.profile?.name ?? null) === name", name)
        page.wait_for_timeout(700)
        _unbroken(*tap.collect(page))
    stats = page.evaluate("pyenhance.session.node.stats()")
    assert stats["model"].startswith(f"{MODEL}-fitted-") and stats["state"] == "running"
    expect(page.locator("#version-note")).to_contain_text(KITCHEN)
    page.evaluate("(name) => pyenhance.engine.profiles().then((profiles) => profiles.forget(name))", KITCHEN)
    assert page.evaluate("[pyenhance.engine.model, pyenhance.engine.profile]") == [MODEL, None]
    page.wait_for_timeout(700)
    _unbroken(*tap.collect(page))
    assert not page.errors
    page.close()


def test_a_profile_of_another_version_is_kept_and_not_used(kitchen: Page) -> None:
    kitchen.evaluate(
        """async (name) => {
          const kept = await import("./engine/kept.js");
          const base = new URL("engine/", location.href);
          const { profile, diff } = await kept.readProfile(name, base);
          await kept.writeProfile({ ...profile, name: "of old", base: "0".repeat(64) }, diff, base);
        }""",
        KITCHEN,
    )
    kitchen.reload()
    kitchen.wait_for_selector("body[data-engine=ready]")
    item = kitchen.locator("#profiles li", has_text="of old")
    expect(item).to_contain_text("another version")
    expect(item.get_by_role("button", name="Use it")).to_be_disabled()
    for name in ("of old", KITCHEN):
        kitchen.get_by_role("button", name=f"Forget: {name}").click()
        expect(kitchen.locator("#profiles-note")).to_contain_text(f"“{name}” is forgotten")
    expect(kitchen.locator("#nothing")).to_be_visible()
    told = kitchen.evaluate("mine.engine.profiles().then((p) => p.use('of old')).catch(({ message }) => message)")
    assert told == 'profile "of old" is not kept here; accepted: none'


def test_a_fit_can_be_ended(mine: Page, recordings: dict[str, Path]) -> None:
    """Between two steps; Python answers others afterwards, and the second fit is whole. At another sample rate, too."""
    outcome = mine.evaluate(
        """async ([voice, noise, model]) => {
          const sound = async (bytes, rate) => {
            const context = new OfflineAudioContext(1, 1, rate);
            const data = Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0)).buffer;
            return (await context.decodeAudioData(data)).getChannelData(0).slice();
          };
          const cancel = new AbortController();
          const shares = [];
          const sounds = { voice: await sound(voice, 44100), noise: await sound(noise, 44100) };
          const given = { ...sounds, model, sampleRate: 44100 };
          const onProgress = (share) => shares.push(share) === 1 && cancel.abort();
          const { engine } = mine;
          const ended = await engine.adapt({ ...given, onProgress, signal: cancel.signal }).catch(({ name }) => name);
          const late = await engine.adapt({ ...given, signal: cancel.signal }).catch(({ name }) => name);
          const [enhanced] = await engine.enhance([new Float32Array(4800)]);
          const { weights, sha256, kept, before, after } = await engine.adapt(given);
          const facts = await engine.setModel(weights);
          const bad = { ...given, voice: [1, 2], sampleRate: 48000 };
          const wrong = await engine.adapt(bad).catch(({ message }) => message);
          const found = { ended, late, wrong, kept, before, after };
          return { ...found, seen: shares.length, length: enhanced.length, same: facts.sha256 === sha256 };
        }""",
        [*(_base64(recordings[name]) for name in ("voice", "noise")), MODEL],
    )
    assert (outcome["ended"], outcome["late"]) == ("AbortError", "AbortError") and outcome["seen"] == 1
    assert outcome["length"] == 4800 and outcome["same"] and outcome["kept"] is True
    assert outcome["after"]["si_sdr"] > outcome["before"]["si_sdr"]
    assert "voice is Array; accepted: a Float32Array" in outcome["wrong"]


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def test_recorded_by_the_microphone(mine: Page) -> None:
    """The fake one plays speech in noise, which is no voice in quiet: recorded as it is, and refused."""
    for part in ("voice", "noise"):
        mine.click(f"#record-{part}")
        expect(mine.locator(f"#record-{part}")).to_contain_text("Stop (")
        until(mine, f"document.getElementById('meter-{part}').value > -50")
        mine.wait_for_timeout(6000 if part == "noise" else 1500)
        mine.click(f"#record-{part}")
        expect(mine.locator(f"#note-{part}")).to_contain_text("taken")
        assert mine.is_hidden(f"#meter-{part}")
    expect(mine.locator("#status")).to_contain_text("Nothing was changed: voice: ")
