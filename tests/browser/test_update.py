"""Another model, or another version of one, in the middle of a call."""

import time

import numpy as np
import pytest
from playwright.sync_api import Page

from pyenhance import load_model

from . import tap
from .conftest import until

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
    """Sound all along, without a click: no sample jumps further than the untouched sound's do."""
    settled = slice(9600, None)
    assert np.abs(np.diff(enhanced[settled])).max() <= 1.2 * np.abs(np.diff(heard)).max()
    blocks = enhanced[settled][: len(enhanced[settled]) // 9600 * 9600].reshape(-1, 9600)
    assert (np.abs(blocks).max(axis=1) > 0).all(), "silence"


def test_another_model_in_a_call(page: Page) -> None:
    """The microphone goes on, and so does the sound; the delay is the new model's."""
    _call(page)
    for model in ("low-delay", "tiny", "default"):
        latency_ms = load_model(model, "numpy").signal.latency_samples / 48
        page.select_option("#model", model)
        until(page, "(ms) => pyenhance.session.node.stats().latency_algorithm_ms === ms", latency_ms)
        assert page.evaluate("pyenhance.session.node.stats().model") == model
        page.wait_for_selector(f"#status:has-text('{model}')")
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
    page.click("#start")


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
