"""Record, side by side, what goes into the page's node and what comes out of it.

That is done on the audio thread: a page that is slow or busy loses nothing of it.
"""

import base64
import time
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import numpy as np
from playwright.sync_api import Page

STATS = "({ ...pyenhance.session.node.stats(), time: pyenhance.session.context.currentTime })"
"""The node's statistics, and the seconds that its context has run."""

RECORDER = Path(__file__).with_name("tap.js")
_BLOCK = 4096
_START = """async () => {
  const { context, source, node } = pyenhance.session;
  await context.audioWorklet.addModule("/tap.js");
  const options = { numberOfInputs: 2, numberOfOutputs: 1, channelCount: 1, channelCountMode: "explicit" };
  window.tapNode = new AudioWorkletNode(context, "tap", options);
  window.tap = [];
  tapNode.port.onmessage = ({ data }) => window.tap.push(data);
  source.connect(tapNode, 0, 0);
  node.connect(tapNode, 0, 1);
  tapNode.connect(context.destination);
}"""
_COLLECT = """() => {
  const blocks = window.tap.splice(0);
  const bytes = new Uint8Array(blocks.length * 32768);
  blocks.forEach((block, i) => bytes.set(new Uint8Array(block.buffer), i * 32768));
  let text = "";
  for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  return btoa(text);
}"""


def offer(server: ThreadingHTTPServer) -> ThreadingHTTPServer:
    """Have a server of the site give the recorder, too: the site's policy allows scripts of its own host alone."""
    site = server.RequestHandlerClass  # a partial of the handler, with its folder

    class WithRecorder(site.func):
        def translate_path(self, path: str) -> str:
            return str(RECORDER) if path == f"/{RECORDER.name}" else super().translate_path(path)

    server.RequestHandlerClass = partial(WithRecorder, **site.keywords)
    return server


def start(page: Page) -> None:
    """Listen to the running session; the server has been made to `offer` the recorder."""
    page.evaluate(_START)


def collect(page: Page) -> tuple[np.ndarray, np.ndarray]:
    """What went in, untouched, and came out since the start or the last call; (n,), float32, of the same moments."""
    blocks = np.frombuffer(base64.b64decode(page.evaluate(_COLLECT)), np.float32).reshape(-1, 2, _BLOCK)
    return blocks[:, 0].ravel(), blocks[:, 1].ravel()


def record(page: Page, seconds: float) -> tuple[dict, dict, np.ndarray, np.ndarray]:
    """The node's statistics before and after, and what `collect` gives of the time between."""
    collect(page)
    begin = page.evaluate(STATS)
    time.sleep(seconds)
    end = page.evaluate(STATS)
    return begin, end, *collect(page)


def stop(page: Page) -> None:
    """Listen no more."""
    page.evaluate("tapNode.disconnect(), tap.splice(0)")
