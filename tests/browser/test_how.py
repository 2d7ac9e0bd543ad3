"""The page "How it works": the article's ladder computed, heard, seen and edited in the browser."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from .conftest import assert_own_host_only, until, watched

pytestmark = pytest.mark.browser
STEPS = ["noisy", "bins", "gains", "comb", "postfilter", "network"]


@pytest.fixture(scope="module")
def how(browser: Browser, serve: Callable[[bool], str]) -> Iterator[Page]:
    address = serve(True) + "how.html"
    context = browser.new_context()
    page = watched(context)
    page.goto(address)
    page.wait_for_selector("body[data-engine=ready]")
    yield page
    assert_own_host_only(page, address)
    context.close()


def _scores(page: Page) -> dict[str, float]:
    _settled(page)
    return {s: float(re.match(r"-?[\d.]+", page.inner_text(f"[data-step={s}] .score"))[0]) for s in STEPS}


def _settled(page: Page) -> None:
    page.evaluate("how.settled()")


def test_the_ladder(how: Page, screenshot: Callable[[Page, str], None]) -> None:
    scores = _scores(how)
    assert scores["noisy"] < scores["network"] < scores["gains"] < scores["bins"]
    assert scores["gains"] < scores["comb"]
    seen = how.evaluate("""() => [...document.querySelectorAll(".picture canvas")].map((canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return data.reduce((sum, value) => sum + value, 0) / data.length;
    })""")
    assert len(seen) == len(STEPS)
    assert seen[0] > 1.1 * seen[1], "the noise is seen"
    screenshot(how, "how")


def test_listening_changes_in_step(how: Page) -> None:
    how.click("[data-step=noisy] button")
    how.click("[data-step=comb] button")
    pressed = [how.get_attribute(f"[data-step={s}] button", "aria-pressed") for s in STEPS]
    assert pressed == ["false", "false", "false", "true", "false", "false"]
    until(how, "how.player.place > 0")
    how.click("[data-step=comb] button")
    assert how.evaluate("how.player.heard") is None


def test_fewer_bands_and_no_comb(how: Page) -> None:
    before = _scores(how)
    computed = how.evaluate("how.kept.computed")
    how.fill("#bands", "6")
    how.fill("#comb", "0")
    after = _scores(how)
    assert how.evaluate("how.kept.computed") == computed + 4, "the bands' step, and the comb's with those after it"
    assert after["gains"] < before["gains"] - 1
    assert after["comb"] == pytest.approx(before["gains"], abs=1)
    assert after["noisy"] == before["noisy"]
    how.fill("#bands", "34")
    how.fill("#comb", "100")
    assert _scores(how) == before
    assert how.evaluate("how.kept.computed") == computed + 4, "what was computed is kept"


def test_editing_the_enhancer(how: Page) -> None:
    before = _scores(how)
    source = how.input_value("#code")
    assert source.startswith("def envelope_postfilter(") and "np.sin" in source
    how.fill("#code", "def envelope_postfilter(gain, energy):\n    return gain\n")
    how.click("#run")
    after = _scores(how)
    assert after["postfilter"] == after["comb"] != before["postfilter"]

    for code, told in (
        ("def envelope_postfilter(gain", r"SyntaxError"),
        ("x = 1", r"defines no function"),
        ("def envelope_postfilter(gain, energy):\n\n    return gains", r"Line 3: NameError"),
        ("def envelope_postfilter(gain, energy):\n    return gain * np.nan", r"no finite sound"),
    ):
        how.fill("#code", code)
        how.click("#run")
        expect(how.locator("#code-status")).to_contain_text(re.compile(told))
        assert _scores(how) == after, "what ran before stays"
    how.click("#reset")
    expect(how.locator("#code")).to_have_value(source)
    assert _scores(how) == before


def test_code_that_never_ends(how: Page) -> None:
    before = _scores(how)
    how.clock.install()
    how.fill("#code", "def envelope_postfilter(gain, energy):\n    while True:\n        pass\n")
    how.click("#run")
    expect(how.locator("#status")).to_contain_text("Computing: And a post-filter")
    how.clock.fast_forward(30_000)
    expect(how.locator("#code-status")).to_contain_text("without an answer")
    assert _scores(how) == before
    how.click("#reset")
    _settled(how)


def test_own_voice(how: Page) -> None:
    before = _scores(how)
    how.click("#record")
    expect(how.locator("#bundled")).to_be_visible()
    after = _scores(how)
    computed = how.evaluate("how.kept.computed")
    assert after != before and after["noisy"] == pytest.approx(before["noisy"], abs=1)  # the same ratio is set
    how.click("#bundled")
    assert _scores(how) == before
    assert how.evaluate("how.kept.computed") == computed
