"""How long "Make it mine" takes in Chromium, from the last recorded word to the sound of the fitted model, by stage.

    python -m tests.perf.fit_time voice.wav noise.wav --model default        after ./build.sh site

The noise is taken as a file; then the fake microphone plays the voice, which the page records as it would a user's.
"""

import argparse
import threading
from pathlib import Path

import soundfile
from playwright.sync_api import Page, sync_playwright

from tests.browser.conftest import ROOT, launch, make_server, ready_page, until

RECORDED_S = 29.0  # at 30 the page would stop by itself
_WATCH = """() => {
  const { engine, player } = mine;
  mine.marks = [];
  mine.mark = (name) => mine.marks.push([name, performance.now() / 1000]);
  const { adapt } = engine;
  engine.adapt = async (options) => {
    mine.mark("read");
    const onProgress = (share) => (mine.mark("step"), options.onProgress(share));
    const made = await adapt.call(engine, { ...options, onProgress });
    mine.mark("sent back");
    return made;
  };
  const sounding = () => (player.place > 0 ? mine.mark("sounds") : setTimeout(sounding, 5));
  const result = document.getElementById("result");
  const shown = () => {
    if (result.hidden) return;
    mine.mark("shown");
    document.getElementById("listen-after").click();
    sounding();
  };
  new MutationObserver(shown).observe(result, { attributeFilter: ["hidden"] });
}"""
_STOP = """() => {
  mine.mark("stopped");
  document.getElementById("record-voice").click();
}"""


def watch(page: Page) -> None:
    """Note from now on when each stage of a fit is over; as soon as there is a result, play what came of it."""
    page.evaluate(_WATCH)


def stages(page: Page) -> list[tuple[str, float]]:
    """What `watch` noted, when the sound is heard: names, and seconds since the page began.

    Raises
    ------
    ValueError
        The page keeps no result: what it says.
    """
    until(page, "document.getElementById('cancel').hidden && mine.marks.some(([name]) => name === 'read')")
    if page.is_hidden("#result"):
        raise ValueError(page.inner_text("#status"))
    until(page, "mine.marks.at(-1)[0] === 'sounds'")
    return [(name, at) for name, at in page.evaluate("mine.marks")]


def measure(voice: Path, noise: Path, model: str) -> list[tuple[str, float]]:
    """As `stages`; the first is "stopped", the end of the recording."""
    server = make_server(ROOT / "dist" / "site", 0, quiet=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    fake = f"--use-file-for-fake-audio-capture={voice.resolve()}"
    with sync_playwright() as playwright:
        browser = launch(playwright, "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", fake)
        page = ready_page(browser.new_context(), f"http://127.0.0.1:{server.server_port}/mine.html")
        page.select_option("#model", model)
        page.set_input_files("#file-noise", noise)
        page.locator("#note-noise", has_text="taken").wait_for()
        watch(page)
        page.click("#record-voice")
        page.locator("#meter-voice").wait_for()
        page.wait_for_timeout(1000 * min(RECORDED_S, soundfile.info(voice).duration))
        page.evaluate(_STOP)
        found = stages(page)
        browser.close()
    server.shutdown()
    return found


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("voice", type=Path, help="half a minute of speech in quiet: WAV")
    parser.add_argument("noise", type=Path, help="twenty seconds of a room")
    parser.add_argument("--model", default="default")
    arguments = parser.parse_args()
    (_, begin), *found = measure(arguments.voice, arguments.noise, arguments.model)
    before = begin
    for name, at in found:
        print(f"{name:10}{at - begin:8.2f} s{at - before:+8.2f}")
        before = at


if __name__ == "__main__":
    main()
