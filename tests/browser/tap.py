"""Record what goes into the page's node and what comes out of it, side by side."""

import base64
import time

import numpy as np
from playwright.sync_api import Page

_START = """() => {
  const { context, source, node } = pyenhance.session;
  const merger = new ChannelMergerNode(context, { numberOfInputs: 2 });
  const mono = new GainNode(context, { channelCount: 1, channelCountMode: "explicit" });
  source.connect(mono).connect(merger, 0, 0);
  node.connect(merger, 0, 1);
  const recorder = context.createScriptProcessor(4096, 2, 1);
  window.tap = [];
  recorder.onaudioprocess = ({ inputBuffer }) => {
    const block = new Float32Array(8192);
    block.set(inputBuffer.getChannelData(0), 0);
    block.set(inputBuffer.getChannelData(1), 4096);
    window.tap.push(block);
  };
  merger.connect(recorder).connect(context.destination);
  window.tapNode = recorder;
}"""
_COLLECT = """() => {
  const bytes = new Uint8Array(window.tap.length * 32768);
  window.tap.forEach((block, i) => bytes.set(new Uint8Array(block.buffer), i * 32768));
  let text = "";
  for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  return btoa(text);
}"""


def start(page: Page) -> None:
    """Listen to the running session."""
    page.evaluate(_START)


def record(page: Page, seconds: float) -> tuple[dict, dict, np.ndarray, np.ndarray]:
    """The node's statistics before and after, and what went in and came out meanwhile: (n,), float32 each."""
    page.evaluate("window.tap.length = 0")
    begin = page.evaluate("pyenhance.session.node.stats()")
    time.sleep(seconds)
    end = page.evaluate("pyenhance.session.node.stats()")
    blocks = np.frombuffer(base64.b64decode(page.evaluate(_COLLECT)), np.float32).reshape(-1, 2, 4096)
    return begin, end, blocks[:, 0].ravel(), blocks[:, 1].ravel()


def stop(page: Page) -> None:
    """Listen no more."""
    page.evaluate("tapNode.disconnect(); tap.length = 0")
